//! Finding scenario files, and naming them.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::document::Problems;

/// Why scenarios could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file or folder.
    #[error("there is no file or folder `{}`", path.display())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// A folder has no scenario in it.
    #[error("there is no scenario (`*.toml`) in `{}`; `deadheat new NAME` writes one to start from", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not a scenario.
    #[error("`{}` is not a scenario file: expected a name that ends in `.toml` or `.spec`", path.display())]
    NotAScenario {
        /// The file.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("`{}` can't be read: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not right.
    #[error("{0}")]
    Wrong(Problems),
}

/// The scenario files that a path names: the file itself, or every `*.toml` below a folder, in the order of their names.
pub fn discover(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    if path.is_dir() {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        if files.is_empty() {
            return Err(LoadError::Empty { path: path.to_owned() });
        }
        return Ok(files);
    }
    if !path.exists() {
        return Err(LoadError::NotFound { path: path.to_owned() });
    }
    // A spec file is run when it is named; a folder of them belongs to `deadheat isolation`.
    let spec = path
        .extension()
        .is_some_and(|extension| extension == super::interleaved::EXTENSION);
    match is_scenario(path) || spec {
        true => Ok(vec![path.to_owned()]),
        false => Err(LoadError::NotAScenario { path: path.to_owned() }),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let unreadable = |error| LoadError::Unreadable {
        path: folder.to_owned(),
        error,
    };
    let mut entries = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files)?;
        } else if is_scenario(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_scenario(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// A scenario's name: the path below the last folder called `scenarios`, without the extension. A file that is in no such folder is called by
/// its own name alone, so that the name does not depend on where the command was started.
pub fn name_of(path: &Path) -> String {
    let parts: Vec<String> = path
        .with_extension("")
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    let start = parts
        .iter()
        .rposition(|part| part == "scenarios")
        .map_or(parts.len().saturating_sub(1), |place| place + 1);
    parts.get(start..).unwrap_or_default().join("/")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::name_of;

    #[test]
    fn a_name_does_not_depend_on_where_the_command_was_started() {
        for path in [
            "scenarios/registration/race.toml",
            "./scenarios/registration/race.toml",
            "/home/me/scenarios/old/scenarios/registration/race.toml",
        ] {
            assert_eq!(name_of(Path::new(path)), "registration/race", "{path}");
        }
        assert_eq!(name_of(Path::new("/tmp/x/race.toml")), "race");
    }
}
