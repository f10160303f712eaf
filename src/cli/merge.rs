//! `deadheat merge`: the results of shards as one.

use super::args::{Merge, MergeFormat};
use super::exit::Exit;
use super::output::Output;
use crate::report::shards;

pub(super) fn run(args: &Merge, output: &Output) -> Exit {
    let mut parts = Vec::new();
    for file in &args.files {
        let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
        match read.and_then(|text| shards::read(&text).map_err(|error| error.to_string())) {
            Ok(part) => parts.push(part),
            Err(error) => return output.usage(format!("{}: {error}", file.display())),
        }
    }
    let merged = match shards::merge(parts) {
        Ok(merged) => merged,
        Err(error) => return output.usage(error),
    };
    output.result(&match args.format {
        MergeFormat::Human => shards::table(&merged, output.paint),
        MergeFormat::Json => merged.text(),
    });
    match merged.ok {
        true => Exit::AsExpected,
        false => Exit::NotAsExpected,
    }
}
