//! `deadheat new`: a scenario to start from.

use std::fs;
use std::path::{Component, Path};

use super::args::{New, StartFrom};
use super::exit::Exit;
use super::output::Output;
use crate::scenario::{Library, template};

pub(super) fn run(args: &New, library: &Library, output: &Output) -> Exit {
    let name = args.name.trim_end_matches(".toml");
    let name = name.strip_prefix("scenarios/").unwrap_or(name);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if name.is_empty() || !Path::new(name).components().all(plain) {
        return output.usage(format!(
            "`{}` can't be a scenario's name: expected a name such as `payment/double-charge`",
            args.name
        ));
    }
    let path = Path::new("scenarios").join(format!("{name}.toml"));
    if path.exists() {
        return output.usage(format!("`{}` is there already", path.display()));
    }
    let text = match args.from {
        StartFrom::Script => template::SCRIPT.to_owned(),
        StartFrom::Domain => template::domain(library.handlers()),
    };
    let folder = path.parent().unwrap_or(Path::new("scenarios"));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
    match written {
        Ok(()) => {
            output.result(&format!(
                "wrote {}\nrun it: deadheat run {}\n",
                path.display(),
                path.display()
            ));
            Exit::AsExpected
        }
        Err(error) => output.usage(format!("`{}` can't be written: {error}", path.display())),
    }
}
