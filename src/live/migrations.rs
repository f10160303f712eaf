//! Folders of migrations as sqlx and diesel have them.

use std::fs;
use std::path::{Path, PathBuf};

/// Why a folder can't be read as migrations.
#[derive(Debug, thiserror::Error)]
pub enum MigrationsError {
    /// A file or folder can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is none in it.
    #[error("{}: no migrations: neither files `1_name.sql` (sqlx) nor folders with an `up.sql` (diesel)", .0.display())]
    None(PathBuf),
}

/// The texts of the migrations in a folder, oldest first: `<version>_<name>.sql` and `.up.sql` as sqlx has them, folders with an `up.sql` as diesel has.
pub(super) fn read(folder: &Path) -> Result<Vec<String>, MigrationsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| MigrationsError::Read { path, error }
    };
    let mut found: Vec<(u128, String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let up = path.join("up.sql");
        let file = match path.is_dir() {
            true if up.is_file() => up,
            false if name.ends_with(".sql") && !name.ends_with(".down.sql") => path,
            _ => continue,
        };
        // diesel writes the moment with dashes.
        let (version, _) = name.split_once('_').unwrap_or((&name, ""));
        let digits: String = version.chars().filter(char::is_ascii_digit).collect();
        if let Ok(version) = digits.parse() {
            found.push((version, name, file));
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(MigrationsError::None(folder.to_owned()));
    }
    let texts = found
        .iter()
        .map(|(.., file)| fs::read_to_string(file).map_err(failed(file)));
    texts.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn migrations_come_in_the_order_of_their_versions_and_never_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        assert!(super::read(folder.path()).is_err());
        write("10_last.up.sql", "third");
        write("10_last.down.sql", "never");
        write("9_first.sql", "second");
        write("2_first/up.sql", "first");
        write("2_first/down.sql", "never");
        write("README.md", "no migration");
        assert_eq!(super::read(folder.path()).expect("read"), ["first", "second", "third"]);
    }
}
