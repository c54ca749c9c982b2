use std::ffi::OsString;

use config::{Daemon, Environment, Loaded, Report};

/// Reads the options of `daemon` and says on the standard error what the operator should know. `usage` says how
/// the program is called and stands above the list of options that `--help` prints. `effective`
/// names the fields of the option table, or whole parts of it (ending in a dot), on which this program
/// acts. Nothing is returned when the options only asked for help or for the configuration to be written:
/// that has been done.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn read(
    daemon: Daemon,
    usage: &str,
    flags: &[OsString],
    environment: &Environment,
    effective: &[&str],
) -> Result<Option<Loaded>, Report> {
    let loaded = config::load(daemon, flags, environment)?;
    if loaded.help_requested {
        print!("{usage}\n{}", config::help(daemon));
        return Ok(None);
    }
    for warning in loaded.warnings.iter().chain(&without_effect(&loaded, effective)) {
        eprintln!("warning: {warning}");
    }
    if loaded.write_config {
        print!("{}", config::write_config(&loaded));
        return Ok(None);
    }
    Ok(Some(loaded))
}

/// One warning per option that was set and on which nothing here acts. Such an option is told, never ignored
/// in silence.
#[must_use]
pub fn without_effect(loaded: &Loaded, effective: &[&str]) -> Vec<String> {
    loaded
        .sources
        .iter()
        .filter(|(field, origin)| origin.is_given() && !is_effective(field, effective))
        .map(|(_, origin)| format!("{} is set but has no effect in this version.", origin.name))
        .collect()
}

fn is_effective(field: &str, effective: &[&str]) -> bool {
    effective.iter().any(|known| {
        *known == field
            || field
                .strip_prefix(known)
                .is_some_and(|rest| known.ends_with('.') || rest.starts_with('_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_without_effect_is_told_by_the_name_it_was_set_by() {
        let env = Environment::from_pairs([
            ("CODER_HTTP_ADDRESS", "127.0.0.1:0"),
            ("CODER_AI_GATEWAY_RATE_LIMIT", "5"),
            ("CODER_VERBOSE", "true"),
            ("HOME", "/nowhere"),
        ]);
        let loaded = config::load(Daemon::Coderd, &[], &env).unwrap();
        assert_eq!(
            without_effect(&loaded, &["networking.http_address", "introspection."]),
            ["CODER_AI_GATEWAY_RATE_LIMIT is set but has no effect in this version."]
        );
        assert_eq!(
            without_effect(&loaded, &["networking.", "gateway.rate", "introspection."]),
            [""; 0]
        );
    }
}
