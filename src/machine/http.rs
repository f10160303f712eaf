//! Requests and responses between processes: the client's call, the provider's webhook.

use std::sync::Arc;

use indexmap::IndexMap;

/// A request to one of the system's endpoints. Receiving it starts a handler process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The endpoint's name, for example `POST /customers`.
    pub endpoint: Arc<str>,
    /// Header values by lower-case name, in the order of the names.
    pub headers: Fields,
    /// The body as named values.
    pub body: Fields,
}

/// Named text values, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Fields(Vec<(Arc<str>, Arc<str>)>);

impl Fields {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.0
            .iter()
            .find(|(field, _)| &**field == name)
            .map(|(_, value)| value)
    }

    /// Sets a name's value.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) {
        let (name, value) = (name.into(), value.into());
        match self.0.binary_search_by(|(field, _)| field.cmp(&name)) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    /// The fields in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut all = Fields::default();
        for (name, value) in fields {
            all.set(name, value);
        }
        all
    }
}

impl From<IndexMap<String, String>> for Fields {
    fn from(fields: IndexMap<String, String>) -> Self {
        fields.into_iter().collect()
    }
}

/// A response: an HTTP status and a body.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: Arc<str>,
}

impl Response {
    /// A response with a body.
    pub fn new(status: u16, body: impl Into<Arc<str>>) -> Self {
        Response {
            status,
            body: body.into(),
        }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.body.is_empty() {
            write!(f, " {}", self.body)?;
        }
        Ok(())
    }
}
