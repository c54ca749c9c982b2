//! Making a new cluster, and mending the password of an old one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use postgresql_commands::CommandBuilder as _;
use postgresql_commands::initdb::InitDbBuilder;
use postgresql_commands::postgres::PostgresBuilder;
use stdx::{Rng, Secret};

use crate::Error;
use crate::account::Account;
use crate::child::{as_account, run};
use crate::connection::NAME;
use crate::discover::Server;
use crate::layout::Layout;

const LIMIT: Duration = Duration::from_mins(3);

/// How text is sorted and what counts as a letter. By code point in each case: an order that no update of
/// the system's locales changes, which would silently break indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locale {
    /// PostgreSQL's own C.UTF-8, from version 17 on.
    Builtin,
    /// The system's C.UTF-8.
    System,
    /// Letters beyond ASCII have no upper and lower case; all systems have it.
    Plain,
}

const fn locales(major: u32) -> &'static [Locale] {
    if major >= 17 { &[Locale::Builtin] } else { &[Locale::System, Locale::Plain] }
}

/// Makes the cluster with its user and its database. It appears in its place complete or not at all.
pub(crate) async fn initialise(
    layout: &Layout,
    server: &Server,
    account: &Account,
    password: &Secret<String>,
    durable: bool,
    rng: &dyn Rng,
) -> Result<(), Error> {
    let work = layout.new_init_dir(account, rng)?;
    let (target, password_file) = (work.join("pg"), work.join("password"));
    write_password(&password_file, password, account)?;
    let mut choices = locales(server.major).iter().copied().peekable();
    while let Some(locale) = choices.next() {
        let command = initdb(server, &target, &password_file, locale, durable).build();
        match run("initdb", as_account(command, account), None, LIMIT).await {
            Err(Error::Program { output, .. })
                if output.contains("invalid locale") && choices.peek().is_some() =>
            {
                tracing::info!(?locale, "the system lacks a locale, trying another");
            }
            result => {
                result?;
                break;
            }
        }
    }
    single_user(
        server,
        account,
        &target,
        durable,
        &Secret::new(format!("CREATE DATABASE {NAME}\n")),
    )
    .await?;
    layout.adopt(&target)?;
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
}

/// Gives the database user a new password while the server is down.
pub(crate) async fn set_password(
    layout: &Layout,
    server: &Server,
    account: &Account,
    password: &Secret<String>,
) -> Result<(), Error> {
    // The password consists of letters and digits (checked when it was made or read).
    let statement = Secret::new(format!("ALTER ROLE {NAME} PASSWORD '{}'\n", password.expose()));
    single_user(server, account, &layout.pg(), true, &statement).await
}

fn initdb(
    server: &Server,
    target: &Path,
    password_file: &Path,
    locale: Locale,
    durable: bool,
) -> InitDbBuilder {
    let mut builder = InitDbBuilder::new()
        .program_dir(&server.bin)
        .pgdata(target)
        .username(NAME)
        .pwfile(password_file)
        .auth("scram-sha-256")
        .encoding("UTF8")
        .data_checksums()
        .no_instructions();
    builder = match locale {
        Locale::Builtin => builder.locale_provider("builtin").builtin_locale("C.UTF-8").locale("C"),
        Locale::System => builder.locale("C.UTF-8"),
        Locale::Plain => builder.locale("C"),
    };
    if durable { builder } else { builder.no_sync() }
}

/// Runs one statement on a stopped cluster. It reaches the server by a pipe, and no log repeats it.
async fn single_user(
    server: &Server,
    account: &Account,
    pg: &Path,
    durable: bool,
    statement: &Secret<String>,
) -> Result<(), Error> {
    let command = PostgresBuilder::new()
        .program_dir(&server.bin)
        .single_user_mode()
        .data_dir(pg)
        .runtime_param("exit_on_error", "on")
        .runtime_param("log_min_error_statement", "panic")
        .runtime_param("fsync", if durable { "on" } else { "off" })
        .dbname("template1")
        .build();
    let input = statement.expose().as_bytes();
    run("postgres --single", as_account(command, account), Some(input), LIMIT).await?;
    Ok(())
}

fn write_password(path: &Path, password: &Secret<String>, account: &Account) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{}", password.expose()))
        .map_err(Error::io("write", path))?;
    account.own(path)
}
