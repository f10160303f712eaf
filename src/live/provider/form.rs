//! Parameters as clients send them: `application/x-www-form-urlencoded`, nested with brackets (`metadata[order]=7`, `types[]=a&types[]=b`).

use std::collections::BTreeMap;

use percent_encoding::percent_decode;

/// How many parameters a request may have, and how deep they may be nested. The provider publishes neither; its clients stay far below.
const MOST: usize = 500;
const DEEPEST: usize = 5;

/// A parameter: a text, or parameters of its own. A list is a map whose names are its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Text(String),
    Map(Form),
}

/// Parameters by name.
pub(super) type Form = BTreeMap<String, Param>;

/// Why parameters can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadForm {
    #[error("The parameters are not UTF-8 once their percent-encoding is taken off.")]
    NotUtf8,
    #[error("A request has at most {MOST} parameters.")]
    TooMany,
    #[error("Invalid parameter name: {0}")]
    Name(String),
    #[error("The parameter {0} is given both as a text and with parameters of its own.")]
    Both(String),
}

/// Reads a body or a query. Of a text that is given twice, the last counts.
pub(super) fn read(bytes: &[u8]) -> Result<Form, BadForm> {
    if percent_decode(bytes).decode_utf8().is_err() {
        return Err(BadForm::NotUtf8);
    }
    let mut form = Form::new();
    for (count, (name, value)) in form_urlencoded::parse(bytes).enumerate() {
        if count == MOST {
            return Err(BadForm::TooMany);
        }
        let path = path_of(&name).ok_or_else(|| BadForm::Name(name.to_string()))?;
        enter(&mut form, &path, value.into_owned()).ok_or_else(|| BadForm::Both(name.to_string()))?;
    }
    Ok(form)
}

/// `a[b][]` as `a`, `b`, and nothing.
fn path_of(name: &str) -> Option<Vec<&str>> {
    let Some((first, rest)) = name.split_once('[') else {
        return (!name.is_empty() && !name.contains(']')).then(|| vec![name]);
    };
    let inner = rest.strip_suffix(']')?;
    let mut path = vec![first];
    path.extend(inner.split("]["));
    let clean = |part: &&str| !part.contains(['[', ']']);
    (!first.is_empty() && path.len() <= DEEPEST && path.iter().all(clean)).then_some(path)
}

fn enter(form: &mut Form, path: &[&str], value: String) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let name = match *first {
        // The next place of a list.
        "" => form.len().to_string(),
        name => name.to_owned(),
    };
    if rest.is_empty() {
        let before = form.insert(name, Param::Text(value));
        return (!matches!(before, Some(Param::Map(_)))).then_some(());
    }
    match form.entry(name).or_insert_with(|| Param::Map(Form::new())) {
        Param::Map(inner) => enter(inner, rest, value),
        Param::Text(_) => None,
    }
}

impl Param {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Param::Text(text) => Some(text),
            Param::Map(_) => None,
        }
    }

    /// The texts of a list in order, if it is one.
    pub(super) fn list(&self) -> Option<Vec<&str>> {
        let Param::Map(form) = self else { return None };
        let numbered: Option<BTreeMap<u32, &str>> = form
            .iter()
            .map(|(place, value)| Some((place.parse().ok()?, value.text()?)))
            .collect();
        Some(numbered?.into_values().collect())
    }

    /// As JSON: texts and objects of them.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Param::Text(text) => text.as_str().into(),
            Param::Map(form) => form.iter().map(|(name, value)| (name.clone(), value.json())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadForm, read};

    fn json(text: &str) -> String {
        let form = read(text.as_bytes()).expect("a form");
        let form = form.iter().map(|(name, value)| (name.clone(), value.json()));
        form.collect::<serde_json::Value>().to_string()
    }

    #[test]
    fn brackets_nest() {
        assert_eq!(
            json("amount=5&metadata[order]=7&metadata[a%20b]=c+d&x=%C3%A4"),
            r#"{"amount":"5","metadata":{"a b":"c d","order":"7"},"x":"ä"}"#
        );
        let form = read(b"types[]=b&types[]=a&expand[1]=y&expand[0]=x").expect("a form");
        assert_eq!(form["types"].list(), Some(vec!["b", "a"]));
        assert_eq!(form["expand"].list(), Some(vec!["x", "y"]));
    }

    #[test]
    fn what_is_no_form_is_named() {
        assert_eq!(read(b"a=%ff"), Err(BadForm::NotUtf8));
        for name in ["a[b", "a]b", "[a]", "a[b]c", "a[b[c]]", "a[1][2][3][4][5]", "=5"] {
            let named = read(format!("{name}=1").as_bytes());
            assert!(matches!(named, Err(BadForm::Name(_))), "{name}: {named:?}");
        }
        assert!(matches!(read(b"a=1&a[b]=2"), Err(BadForm::Both(_))));
        assert!(matches!(read(b"a[b]=2&a=1"), Err(BadForm::Both(_))));
        assert_eq!(read("a=1&".repeat(501).as_bytes()), Err(BadForm::TooMany));
    }
}
