//! From a file to its scenarios.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::discover::LoadError;
use super::expect::Stated;
use super::script::Sections;
use super::{Kind, Limits, Scenario, Storm, discover, domain, interleaved, name_of, script};
use crate::document::{self, Content, Fields, Node, Problem, Problems, Sink, Source, Table};
use crate::domain::{Handler, builtin};
use crate::explore::Driver;
use crate::system::{Fault, FaultBudget, System};

/// Reads scenario files, and knows the handlers that they may name.
#[derive(Clone, Debug)]
pub struct Library {
    handlers: Vec<Arc<dyn Handler>>,
}

impl Default for Library {
    /// Knows the handlers of this crate.
    fn default() -> Self {
        Library { handlers: builtin() }
    }
}

impl Library {
    /// Knows one handler more. A handler of the same name is replaced.
    #[must_use]
    pub fn with(mut self, handler: impl Handler + 'static) -> Self {
        self.handlers.retain(|known| known.name() != handler.name());
        self.handlers.push(Arc::new(handler));
        self.handlers.sort_by(|one, other| one.name().cmp(other.name()));
        self
    }

    /// The handlers that scenarios may name.
    pub fn handlers(&self) -> &[Arc<dyn Handler>] {
        &self.handlers
    }

    /// The scenarios of a file, or of every file below a folder, in the order of their names; a file's variants follow it.
    pub fn load(&self, path: &Path) -> Result<Vec<Scenario>, LoadError> {
        let mut scenarios = Vec::new();
        for file in discover(path)? {
            scenarios.extend(self.load_file(&file)?);
        }
        Ok(scenarios)
    }

    /// The scenarios of one file.
    pub fn load_file(&self, path: &Path) -> Result<Vec<Scenario>, LoadError> {
        let bytes = fs::read(path).map_err(|error| LoadError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let shown = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let end = good.len();
            let problem = Problem::new(
                end..end,
                "the file is not UTF-8 text",
                "the first byte that is not UTF-8",
            );
            LoadError::Wrong(Problems::new(Source::new(shown.clone(), good), vec![problem]))
        })?;
        let name = name_of(path);
        let source = Source::new(shown, text);
        let spec = path
            .extension()
            .is_some_and(|extension| extension == interleaved::EXTENSION);
        let scenarios = match spec {
            true => interleaved::read(&name, path, source),
            false => self.read(&name, path, source),
        };
        scenarios.map_err(LoadError::Wrong)
    }

    /// The scenarios of a text. `path` is where it stands, for files that it names.
    pub fn read(&self, name: &str, path: &Path, source: Source) -> Result<Vec<Scenario>, Problems> {
        let table = document::parse(&source)?;
        let sink = Sink::new(source);
        let file = File {
            library: self,
            name,
            path,
            sink: &sink,
        };
        let scenarios = file.scenarios(&table);
        match scenarios {
            Some(mut scenarios) if !sink.has_errors() => {
                let warnings = sink.into_problems().list;
                if let Some(first) = scenarios.first_mut() {
                    first.warnings = warnings;
                }
                Ok(scenarios)
            }
            _ => Err(sink.into_problems()),
        }
    }
}

/// One file that is being read.
struct File<'a> {
    library: &'a Library,
    name: &'a str,
    path: &'a Path,
    sink: &'a Sink,
}

impl File<'_> {
    /// The base and its variants. `None` when something is wrong, which the sink then knows.
    fn scenarios(&self, table: &Table) -> Option<Vec<Scenario>> {
        let sections = match script::is_script(table) {
            true => Some(Sections::read(self.sink)?),
            false => None,
        };
        let mut base = table.clone();
        let variants = base.remove("variant");
        let mut scenarios = Vec::new();
        scenarios.push(self.scenario(&base, None, sections.as_ref()));
        if let Some(node) = variants {
            scenarios.extend(self.variants(&base, &node, sections.as_ref()));
        }
        scenarios.into_iter().collect()
    }

    fn variants(&self, base: &Table, node: &Node, sections: Option<&Sections>) -> Vec<Option<Scenario>> {
        let Content::Array(items) = &node.content else {
            let found = format!("`variant` is {}", node.kind());
            self.sink.push(Problem::new(
                node.span.clone(),
                found,
                "expected tables, each under `[[variant]]`",
            ));
            return vec![None];
        };
        let mut names: Vec<&str> = Vec::new();
        let mut scenarios = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let Some(own) = item.table() else { continue };
            let mut fields = Fields::new(own, item.span.clone(), "`[[variant]]`", self.sink);
            let Some((name, span)) = fields.required_text("name") else {
                continue;
            };
            if name.is_empty()
                || !name
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
            {
                let label = "expected letters, digits and `-`";
                self.sink.push(Problem::new(
                    span.clone(),
                    format!("`{name}` can't name a variant"),
                    label,
                ));
            }
            if names.contains(&name) {
                let message = format!("there are two variants `{name}`");
                self.sink.push(Problem::new(span, message, "expected another name"));
            }
            names.push(name);
            if own.get("expect").is_none() {
                fields.missing("expect", "{ holds = [...], violates = [...] }");
            }
            let mut table = base.clone();
            table.remove("expect");
            let mut own = own.clone();
            own.remove("name");
            table.overlay(&own);
            scenarios.push(self.scenario(&table, Some((number, name)), sections));
        }
        scenarios
    }

    fn scenario(&self, table: &Table, variant: Option<(usize, &str)>, sections: Option<&Sections>) -> Option<Scenario> {
        let name: Arc<str> = match variant {
            Some((_, variant)) => format!("{}#{variant}", self.name).into(),
            None => self.name.into(),
        };
        let mut fields = Fields::new(table, 0..0, "the file", self.sink);
        let title = fields.required_text("title").map_or("", |(title, _)| title).to_owned();
        let origin = text(&mut fields, "source");
        let story = text(&mut fields, "story");
        let drivers = read_drivers(&mut fields);
        let limits = Limits::read(fields.fields("limits"));
        let storm = Storm::read(fields.fields("storm"));
        let faults = read_faults(fields.fields("faults"));
        let stated = fields.fields("expect").map(Stated::read);
        let expected = stated.as_ref().map(Stated::of_script).unwrap_or_default();
        let built = match sections {
            Some(sections) => {
                for section in ["world", "process", "invariant", "observe"] {
                    fields.node(section);
                }
                let number = variant.map(|(number, _)| number);
                sections
                    .load(&name, self.path, number, faults, expected, self.sink)
                    .map(|system| (Kind::Script, system))
            }
            None => self.domain(&mut fields, &name, faults),
        };
        fields.finish();
        let (kind, system) = built?;
        let expect = match stated {
            Some(stated) => stated.check(system.spec(), |problem| self.sink.push(problem)),
            None => super::Expect::default(),
        };
        Some(Scenario {
            name,
            variant: variant.map(|(_, name)| name.into()),
            path: self.path.to_owned(),
            source: self.sink.source().clone(),
            title,
            origin,
            story,
            drivers,
            limits,
            storm,
            expect,
            kind,
            system,
            warnings: Vec::new(),
        })
    }

    fn domain(&self, fields: &mut Fields<'_>, name: &Arc<str>, faults: FaultBudget) -> Option<(Kind, System)> {
        let section = fields.fields("domain");
        let clients = fields.list("clients");
        let invariants = fields.list("invariant");
        // Known, so that a slip in them is not taken for another word.
        fields.node("world");
        fields.node("process");
        fields.node("variant");
        let Some(section) = section else {
            if fields.table().get("domain").is_none() {
                fields.missing("domain", "{ handler = \"...\" }");
            }
            return None;
        };
        let designed = domain::read(&self.library.handlers, section, clients, invariants, faults)?;
        if self.sink.has_errors() {
            return None;
        }
        match designed.system(name) {
            Ok(system) => {
                let queries = fields
                    .table()
                    .get("invariant")
                    .and_then(Node::array)
                    .unwrap_or_default();
                domain::check_queries(&system, queries, self.sink);
                Some((Kind::Domain(designed), system))
            }
            Err(error) => {
                domain::report(&error, fields.table(), self.sink);
                None
            }
        }
    }
}

fn text(fields: &mut Fields<'_>, key: &str) -> String {
    fields.text(key).map_or("", |(text, _)| text).trim().to_owned()
}

/// The drivers that a scenario names, each once and in the usual order; all of them when it names none.
fn read_drivers(fields: &mut Fields<'_>) -> Vec<Driver> {
    let Some(stated) = fields.texts("drivers") else {
        return Driver::ALL.to_vec();
    };
    let mut named = Vec::new();
    for (name, span) in stated {
        match Driver::ALL.into_iter().find(|driver| driver.name() == name) {
            Some(driver) => named.push(driver),
            None => {
                let known = Driver::ALL.map(Driver::name);
                fields.sink().push(Problem::unknown(span, "driver", name, known));
            }
        }
    }
    Driver::ALL
        .into_iter()
        .filter(|driver| named.contains(driver))
        .collect()
}

fn read_faults(fields: Option<Fields<'_>>) -> FaultBudget {
    let Some(mut fields) = fields else {
        return FaultBudget::NONE;
    };
    let mut budget = FaultBudget::NONE;
    for fault in Fault::ALL {
        if let Some(count) = fields.int(fault.name(), 0..=100) {
            budget = budget.with(fault, count as u8);
        }
    }
    fields.finish();
    budget
}
