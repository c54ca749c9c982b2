//! A migrated database that lives as long as the generator.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pgcluster::{Cluster, Settings};
use tokio_postgres::{Client, NoTls};

use crate::{constraints, tables};

/// What to print.
#[derive(Clone, Copy)]
pub(crate) enum Product {
    Schema,
    Constraints,
}

/// Starts a scratch server, migrates it and makes the product.
pub(crate) async fn make(product: Product) -> Result<String> {
    let dir = tempfile::Builder::new().prefix("schemagen-").tempdir()?;
    open_to_all(dir.path())?;
    let cluster =
        Cluster::start(Settings::scratch(dir.path().join("postgres"), dir.path().join("cache")))
            .await?;
    let made = read(&cluster, product).await;
    cluster.stop().await;
    made
}

async fn read(cluster: &Cluster, product: Product) -> Result<String> {
    let (client, connection) =
        tokio_postgres::connect(cluster.url().expose(), NoTls).await.context("connect")?;
    let (text, _) = tokio::join!(
        async {
            let text = describe(&client, product).await;
            drop(client);
            text
        },
        connection
    );
    text
}

async fn describe(client: &Client, product: Product) -> Result<String> {
    for migration in migrations()? {
        let sql = fs::read_to_string(migration.join("up.sql"))?;
        client
            .batch_execute(&sql)
            .await
            .with_context(|| format!("apply {}", migration.display()))?;
    }
    match product {
        Product::Schema => tables::render(client).await,
        Product::Constraints => constraints::render(client).await,
    }
}

fn migrations() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut dirs: Vec<PathBuf> = fs::read_dir(&root)
        .with_context(|| format!("read {}", root.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.is_dir())
        .collect();
    dirs.sort();
    Ok(dirs)
}

/// The server runs as another user when this process is root.
fn open_to_all(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
