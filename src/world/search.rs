//! A search index beside the database: documents that are put, removed and found.
//!
//! Reached under the service name `search`. A document can be found from the moment that it is put. Real engines refresh a second or so later; in an untimed
//! exploration that second is in the order of the steps, because whoever searches may always come too early.
//!
//! With a version a document is only replaced by a newer one (external versioning): what a relay needs whose updates arrive out
//! of order.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::service::{Answer, Call};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::{Service, VirtualTable};

/// The service's name.
pub const SEARCH: &str = "search";

/// The index.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Index {
    documents: BTreeMap<Arc<str>, Document>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Document {
    /// `None` once removed under a version, which must not be undone by an older one.
    text: Option<Arc<str>>,
    version: Option<i64>,
}

/// Puts a document.
pub fn put(id: &str, text: &str) -> Call {
    Call::new(SEARCH, "put").with("id", id).with("text", text)
}

/// Removes a document.
pub fn remove(id: &str) -> Call {
    Call::new(SEARCH, "remove").with("id", id)
}

/// Looks a document up; answers `found` and `text`.
pub fn find(id: &str) -> Call {
    Call::new(SEARCH, "find").with("id", id)
}

impl Index {
    /// The documents that can be found.
    pub fn documents(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.documents
            .iter()
            .filter_map(|(id, document)| Some((id, document.text.as_ref()?)))
    }

    fn change(&mut self, id: Arc<str>, text: Option<Arc<str>>, version: Option<i64>) {
        let newer = match self.documents.get(&id) {
            Some(Document { version: known, .. }) => version.is_none() || version > *known,
            None => true,
        };
        if !newer {
            return;
        }
        match (&text, version) {
            (None, None) => drop(self.documents.remove(&id)),
            _ => drop(self.documents.insert(id, Document { text, version })),
        }
    }
}

impl Service for Index {
    fn call(&mut self, _caller: Pid, call: &Call, _now: i64) -> Result<Answer, NoAnswer> {
        let text = |name: &str| match call.arguments.get(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let version = match call.arguments.get("version") {
            Some(Value::Int(version)) => Some(*version),
            _ => None,
        };
        let id = text("id").unwrap_or_default();
        match &*call.operation {
            "put" => self.change(id, Some(text("text").unwrap_or_default()), version),
            "remove" => self.change(id, None, version),
            _ => {
                let found = self.documents.get(&id).and_then(|document| document.text.clone());
                return Ok(Answer::Ok(vec![
                    ("found".into(), Value::Bool(found.is_some())),
                    ("text".into(), found.map_or(Value::Null, Value::Text)),
                ]));
            }
        }
        Ok(Answer::Ok(Vec::new()))
    }

    /// It knows nothing of who calls.
    fn rename(&mut self, _names: &Renaming) -> bool {
        true
    }

    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        let id = call.arguments.get("id").map(Value::to_string).unwrap_or_default();
        vec![(id.into(), &*call.operation != "find")]
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let rows = self
            .documents()
            .map(|(id, text)| vec![Value::Text(id.clone()), Value::Text(text.clone())]);
        vec![VirtualTable {
            name: "search_documents".into(),
            columns: vec![("id".into(), "text".into()), ("content".into(), "text".into())],
            rows: rows.collect(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::{Index, find, put, remove};
    use crate::machine::Pid;
    use crate::machine::service::Call;
    use crate::value::Value;
    use crate::world::service::Service;

    /// What is found in the end.
    fn after(calls: &[Call]) -> Value {
        let mut index = Index::default();
        for call in calls {
            index.call(Pid::root(0), call, 0).ok();
        }
        let answer = index.call(Pid::root(0), &find("a"), 0).expect("it answers");
        answer.get("text").cloned().unwrap_or_default()
    }

    #[test]
    fn only_a_newer_version_replaces() {
        let versioned = |text: &str, version: i64| put("a", text).with("version", version);
        assert_eq!(after(&[versioned("one", 2), versioned("two", 3)]), Value::text("two"));
        assert_eq!(after(&[versioned("one", 2), versioned("two", 2)]), Value::text("one"));
        assert_eq!(after(&[versioned("one", 2), versioned("two", 1)]), Value::text("one"));
        assert_eq!(after(&[versioned("one", 2), put("a", "two")]), Value::text("two"));
    }

    #[test]
    fn a_removal_is_not_undone_by_an_update_that_comes_late() {
        let late = put("a", "old").with("version", 1);
        let removed = remove("a").with("version", 2);
        assert_eq!(after(&[removed.clone(), late.clone()]), Value::Null);
        assert_eq!(
            after(&[late.clone(), removed, put("a", "new").with("version", 3)]),
            Value::text("new")
        );
        // Without a version nothing is left that could tell.
        assert_eq!(after(&[put("a", "first"), remove("a"), late]), Value::text("old"));
    }
}
