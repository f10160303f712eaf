//! The names of a process's values: where each is kept, which are known, which are used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::Setting;
use crate::script::ast::{Block, Kind, Param};
use crate::script::error::Problem;
use crate::script::words::{FUNCTIONS, GIVEN};

/// A value from outside an atomic block: its name inside, what it is outside, and where it is used.
pub(super) type Outer = (Arc<str>, Param, Range<usize>);

/// The names of a process.
pub(super) struct Names {
    slots: Vec<Arc<str>>,
    known: BTreeSet<String>,
    request: Option<Option<Vec<String>>>,
    used: BTreeSet<String>,
    /// The first place where each name is given.
    given: BTreeMap<String, Range<usize>>,
    /// Values from outside an atomic block, flattened into one name each.
    pub(super) outer: Option<Vec<Outer>>,
    /// In an atomic block: the names that have a value outside.
    around: BTreeSet<String>,
    /// The columns of results, where they are known.
    pub(super) columns: BTreeMap<String, Option<Vec<String>>>,
    /// The queue of each name that `take` gives; `None` when there are several.
    pub(super) jobs: BTreeMap<String, Option<String>>,
    /// Names whose values are texts whatever they look like: fields of a request, values of the cache.
    texts: BTreeSet<String>,
    /// Names that are the result of a step by now, and were something else before.
    hiding: BTreeMap<String, &'static str>,
    /// The endpoint that each response came from.
    pub(super) responses: BTreeMap<String, String>,
}

impl Names {
    /// The names that the steps give, and those that they have from the start.
    pub(super) fn of(block: &Block, setting: &Setting) -> Names {
        let mut names = Names {
            slots: Vec::new(),
            known: setting.params.iter().cloned().collect(),
            request: setting.request.clone(),
            used: BTreeSet::new(),
            given: BTreeMap::new(),
            outer: None,
            around: BTreeSet::new(),
            columns: BTreeMap::new(),
            jobs: super::effect::jobs(block),
            texts: BTreeSet::new(),
            hiding: BTreeMap::new(),
            responses: BTreeMap::new(),
        };
        names.known.extend(["process".to_owned(), "instance".to_owned()]);
        if setting.request.is_some() {
            names.known.insert("headers".to_owned());
            names.known.insert("request".to_owned());
            names.texts.extend(["headers".to_owned(), "request".to_owned()]);
        }
        names.gather(block);
        let fields = setting.request.iter().flatten().flatten();
        let untouched = fields.filter(|field| !names.known.contains(*field)).cloned();
        names.texts.extend(untouched.collect::<Vec<_>>());
        names
    }

    /// The names of an atomic block, which sees those around it as they are when it begins.
    pub(super) fn inside(block: &Block, outer: &Names) -> Names {
        let mut names = Names::of(block, &Setting::default());
        names.known.clear();
        names.known.extend(names.given.keys().cloned());
        names.outer = Some(Vec::new());
        let texts = outer.texts.iter().filter(|name| !names.given.contains_key(*name));
        names.texts.extend(texts.cloned().collect::<Vec<_>>());
        names.around = outer.known.clone();
        names.around.extend(outer.request.iter().flatten().flatten().cloned());
        names
    }

    /// Notes the names that steps give. What a step in an atomic block gives a name to stays inside.
    fn gather(&mut self, block: &Block) {
        for step in &block.0 {
            for name in step.binds() {
                self.known.insert(name.text.clone());
                self.given.entry(name.text.clone()).or_insert_with(|| name.span.clone());
            }
            if !matches!(step.kind, Kind::Atomic { .. }) {
                for block in step.blocks() {
                    self.gather(block);
                }
            }
        }
    }

    /// A step gives the name to something: whether that is a text, and whether it is a result that hides what the name was before.
    pub(super) fn rebind(&mut self, name: &str, is_text: bool, hides: Option<&'static str>) {
        match is_text {
            true => self.texts.insert(name.to_owned()),
            false => self.texts.remove(name),
        };
        match hides {
            Some(what) => self.hiding.insert(name.to_owned(), what),
            None => self.hiding.remove(name),
        };
        self.responses.remove(name);
    }

    /// The name is a text from now on.
    pub(super) fn texts(&mut self, name: String) {
        self.texts.insert(name);
    }

    /// What a name is before any step gives it to something else.
    pub(super) fn origin(&self, name: &str, params: &[String]) -> Option<&'static str> {
        let fields = self.request.iter().flatten().flatten();
        if fields.into_iter().any(|field| field == name) {
            return Some("the request's field");
        }
        params
            .iter()
            .any(|param| param == name)
            .then_some("the process's parameter")
    }

    /// What a name hides that is now the result of a step. Asked once for each name.
    pub(super) fn hidden(&mut self, name: &str) -> Option<&'static str> {
        self.hiding.remove(name)
    }

    /// Whether a value is a text, whatever it looks like.
    pub(super) fn is_text(&self, name: &str) -> bool {
        self.texts.contains(name)
    }

    /// Whether a bare word is a value.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.known.contains(name)
            || matches!(&self.request, Some(Some(fields)) if fields.iter().any(|field| field == name))
    }

    /// Where a name's value is kept.
    pub(super) fn slot(&mut self, name: &str) -> u16 {
        match self.slots.iter().position(|known| **known == *name) {
            Some(place) => place as u16,
            None => {
                self.slots.push(name.into());
                self.slots.len() as u16 - 1
            }
        }
    }

    /// Where the value is kept that a use of a name means; notes the use, and a problem when there is no such name.
    pub(super) fn read(&mut self, param: &Param, span: &Range<usize>, problems: &mut Vec<Problem>) -> u16 {
        self.used.insert(param.name.clone());
        if self.known.contains(&param.name)
            && self.around.contains(&param.name)
            && let Some(outer) = &mut self.outer
            && !outer.iter().any(|(known, ..)| **known == *param.name)
        {
            // Before a step inside gives it to something else, it is what it is outside.
            let whole = Param {
                name: param.name.clone(),
                field: None,
                all: false,
            };
            outer.push((param.name.as_str().into(), whole, span.clone()));
        }
        if !self.known.contains(&param.name)
            && let Some(outer) = &mut self.outer
        {
            // In an atomic block: a value from outside comes along under one name for name and column.
            let flat: Arc<str> = param.to_string()[1..].into();
            if !outer.iter().any(|(known, ..)| *known == flat) {
                outer.push((flat.clone(), param.clone(), span.clone()));
            }
            return self.slot(&flat);
        }
        let allowed = match &self.request {
            _ if self.known.contains(&param.name) => true,
            Some(None) => true,
            Some(Some(fields)) => fields.contains(&param.name),
            None => false,
        };
        if !allowed {
            let fields = self.request.iter().flatten().flatten();
            let candidates: Vec<&str> = self.known.iter().chain(fields).map(String::as_str).collect();
            let label = match &self.request {
                Some(_) => "neither a step nor a request that is sent here gives it a value",
                None => "no step gives it a value, and it is no parameter of the process",
            };
            let problem = Problem::new(format!("unknown name `{}`", param.name), span.clone())
                .label(label)
                .nearest(&param.name, candidates);
            problems.push(problem);
        }
        self.slot(&param.name)
    }

    /// Makes a name known that no step gives by itself.
    pub(super) fn give(&mut self, name: &str) {
        self.known.insert(name.to_owned());
    }

    /// Warns of names that are given and never used.
    pub(super) fn unused(&self, problems: &mut Vec<Problem>) {
        for (name, span) in &self.given {
            if !self.used.contains(name) && !name.starts_with('_') {
                let problem = Problem::warning(format!("`{name}` is never used"), span.clone())
                    .help(format!("leave the name out, or call it `_{name}`"));
                problems.push(problem);
            }
        }
    }

    /// The names that are read and not given by a step: parameters, fields of the request, given names.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        self.slots.clone()
    }

    /// The nearest known names for a word that is none, functions included.
    pub(super) fn candidates(&self) -> Vec<String> {
        let own = self.known.iter().cloned();
        let fields = self.request.iter().flatten().flatten().cloned();
        let given = GIVEN.iter().map(|(name, _)| (*name).to_owned());
        let functions = FUNCTIONS.iter().map(|function| format!("{}()", function.name));
        own.chain(fields).chain(given).chain(functions).collect()
    }
}
