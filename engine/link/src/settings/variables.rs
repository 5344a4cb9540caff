//! Variables of the environment: their names, and what is no name.
//!
//! A misspelt variable would be ignored, and a restriction that was meant by it would leave a door
//! open. So one that begins like ours and is none ends the start.

use clap::Command;

/// Variables of the tools around the product, which begin like ours: where tests and scripts find it,
/// seeds of simulations, and what the build script tells the build.
const OTHERS: [&str; 4] = [
    "SHARDCAST_BIN",
    "SHARDCAST_BIN_DIR",
    "SHARDCAST_BUILD_NUMBER",
    "SHARDCAST_SEED",
];

/// What the names of others begin with.
const OTHERS_BEGIN_WITH: [&str; 2] = ["SHARDCAST_E2E_", "SHARDCAST_TEST_"];

/// A name is proposed when at most one in so many of its characters was changed.
const CHARACTERS_PER_CHANGE: usize = 3;

/// Variables that begin like ours and are none. The operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "these variables of the environment are no settings, and a restriction that was meant by one \
     would not be in force; correct them or take them out:\n  {}",
    .0.join("\n  ")
)]
pub struct UnknownVariables(Vec<String>);

/// Gives each flag of `command` and of its subcommands the variable of its name: upper case, `_` for
/// `-`, behind `prefix`. Left as they are: flags with a variable of another name, and those in
/// `without`, by id.
pub fn with_variables(command: Command, prefix: &str, without: &[&str]) -> Command {
    let command = command.mut_args(|argument| {
        let id = argument.get_id().to_string();
        let is_settled = argument.get_env().is_some() || argument.get_long().is_none();
        if is_settled || matches!(id.as_str(), "help" | "version") || without.contains(&id.as_str())
        {
            return argument;
        }
        // The command keeps it for as long as the process runs; this is done once.
        let name: &'static str = format!("{prefix}{}", id.to_uppercase()).leak();
        argument.env(name)
    });
    command.mut_subcommands(|command| with_variables(command, prefix, without))
}

/// The variables of `command` and its subcommands.
pub fn named_variables(command: &Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter_map(|argument| argument.get_env());
    let own = own.map(|name| name.to_string_lossy().into_owned());
    let of_subcommands = command.get_subcommands().flat_map(named_variables);
    own.chain(of_subcommands).collect()
}

/// Whether the variable `name` is one that Kubernetes makes for each port of a Service in the
/// namespace of the pod, and Docker for each `--link`: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_HTTP`, `X_PORT`, `X_PORT_80_TCP`, `X_PORT_80_TCP_ADDR`. A Service named `shardcast`
/// or `shardcast-engine` makes them begin like ours, and the operator did not write them.
fn is_of_service(name: &str, value: &str) -> bool {
    let has_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && has_address)
        || name.match_indices("_PORT_").any(|(at, word)| {
            let rest = name.get(at + word.len()..).unwrap_or_default();
            let protocol = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            protocol.len() < rest.len()
                && ["_TCP", "_UDP", "_SCTP"].iter().any(|known| {
                    let rest = protocol.strip_prefix(known);
                    rest.is_some_and(|rest| matches!(rest, "" | "_PROTO" | "_PORT" | "_ADDR"))
                })
        })
}

/// Looks among `present`, names with their values, for names that begin with `prefix`, are not in
/// `known`, and are not of a Service of Kubernetes or a link of Docker.
///
/// # Errors
/// Names each of them with the known name that is nearest.
pub fn check_variables(
    present: impl IntoIterator<Item = (String, String)>,
    prefix: &str,
    known: &[String],
) -> Result<(), UnknownVariables> {
    let is_unknown = |name: &String, value: &str| {
        let is_others = OTHERS.contains(&name.as_str())
            || OTHERS_BEGIN_WITH
                .iter()
                .any(|begin| name.starts_with(begin));
        name.starts_with(prefix)
            && !is_others
            && !known.contains(name)
            && !is_of_service(name, value)
    };
    let mut unknown: Vec<String> = present
        .into_iter()
        .filter(|(name, value)| is_unknown(name, value))
        .map(|(name, _)| name)
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort();
    let shown = unknown.iter().map(|name| match nearest(name, known) {
        Some(near) => format!("{name}: did you mean {near}?"),
        None => format!("{name}: see --help for all of them"),
    });
    Err(UnknownVariables(shown.collect()))
}

/// The name in `known` that `name` becomes by the fewest changes of a character.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let changes = |other: &&String| strsim::damerau_levenshtein(name, other);
    let near = known.iter().min_by_key(changes)?;
    (changes(&near) <= name.len() / CHARACTERS_PER_CHANGE).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::EngineFlags;

    fn known() -> Vec<String> {
        named_variables(&EngineFlags::command_with_variables())
    }

    fn check(present: &[&str]) -> Result<(), UnknownVariables> {
        let present = present.iter().map(|variable| {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            (name.to_owned(), value.to_owned())
        });
        check_variables(present, "SHARDCAST_", &known())
    }

    #[test]
    fn each_flag_has_its_variable() {
        for name in [
            "SHARDCAST_ENGINE_LINK_DIR",
            "SHARDCAST_ENGINE_UDP_PORT_BASE",
            "SHARDCAST_ENGINE_CA_FILE",
            "SHARDCAST_ENGINE_CODECS_INLINE",
            "SHARDCAST_ENGINE_LOG_FORMAT",
        ] {
            assert!(known().contains(&name.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_told_with_the_one_that_was_meant() {
        let error = check(&["PATH", "SHARDCAST_ENGINE_DESTINATION_DNEY"]).unwrap_err();
        let text = error.to_string();
        let wanted =
            "SHARDCAST_ENGINE_DESTINATION_DNEY: did you mean SHARDCAST_ENGINE_DESTINATION_DENY?";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn a_variable_that_is_like_none_is_refused_too() {
        let error = check(&["SHARDCAST_SOMETHING_ELSE_ALTOGETHER"]).unwrap_err();
        assert!(error.to_string().contains("see --help"), "{error}");
    }

    #[test]
    fn variables_of_others_and_of_tools_are_let_be() {
        let fine = [
            "HOME",
            "MY_SHARDCAST_X",
            "SHARDCAST_BIN",
            "SHARDCAST_BIN_DIR",
            "SHARDCAST_SEED",
            "SHARDCAST_E2E_KEEP",
            "SHARDCAST_TEST_FEW_DESCRIPTORS",
            "SHARDCAST_ENGINE_SHARDS",
        ];
        assert_eq!(check(&fine), Ok(()));
    }

    #[test]
    fn variables_of_a_service_that_has_our_name_are_let_be() {
        for service in ["SHARDCAST", "SHARDCAST_ENGINE", "SHARDCAST_RTMP_INGEST"] {
            for rest in [
                "_SERVICE_HOST=10.0.0.1",
                "_SERVICE_PORT=5080",
                "_SERVICE_PORT_HTTP=5080",
                "_PORT=tcp://10.0.0.1:5080",
                "_PORT=udp://10.0.0.1:5080",
                "_PORT_5080_TCP=tcp://10.0.0.1:5080",
                "_PORT_5080_TCP_PROTO=tcp",
                "_PORT_5080_TCP_PORT=5080",
                "_PORT_50000_UDP_ADDR=10.0.0.1",
            ] {
                let variable = format!("{service}{rest}");
                assert_eq!(check(&[&variable]), Ok(()), "{variable}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_of_a_service_is_refused() {
        for variable in [
            "SHARDCAST_PORT=5080",
            "SHARDCAST_HTTPPORT=5080",
            "SHARDCAST_PORT_TCP=1",
            "SHARDCAST_PORT_5080=1",
            "SHARDCAST_PORT_5080_TCP_DENY=1",
            "SHARDCAST_SERVICE_HOSTS=1",
        ] {
            assert!(check(&[variable]).is_err(), "{variable}");
        }
    }
}
