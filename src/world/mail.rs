//! A mailer: what was sent to whom, how often.
//!
//! Reached under the service name `mail`. A mail with a key is sent once however often it is asked for, as the APIs of mail services offer it; without one
//! each call is a mail. An address that is not one is refused with 422, as those APIs do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::service::{Answer, Call};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::{Service, VirtualTable};

/// The service's name.
pub const MAIL: &str = "mail";

/// The mailer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Mailer {
    sent: BTreeMap<Mail, u8>,
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mail {
    /// To whom.
    pub to: Arc<str>,
    /// The subject.
    pub subject: Arc<str>,
    /// The text.
    pub text: Arc<str>,
    /// The key under which it is sent once.
    pub key: Option<Arc<str>>,
}

/// Sends a mail. Answers nothing, or 422 for an address without an `@`.
pub fn send(to: &str, subject: &str, text: &str) -> Call {
    Call::new(MAIL, "send")
        .with("to", to)
        .with("subject", subject)
        .with("text", text)
}

/// Sends a mail unless one was sent under this key.
pub fn send_once(key: &str, to: &str, subject: &str, text: &str) -> Call {
    send(to, subject, text).with("key", key)
}

impl Mailer {
    /// Every mail with how often it was sent.
    pub fn sent(&self) -> impl Iterator<Item = (&Mail, u8)> {
        self.sent.iter().map(|(mail, count)| (mail, *count))
    }
}

impl Service for Mailer {
    fn call(&mut self, _caller: Pid, call: &Call, _now: i64) -> Result<Answer, NoAnswer> {
        let text = |name: &str| match call.arguments.get(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let mail = Mail {
            to: text("to").unwrap_or_default(),
            subject: text("subject").unwrap_or_default(),
            text: text("text").unwrap_or_default(),
            key: text("key"),
        };
        if !mail.to.contains('@') {
            return Ok(Answer::refused(
                422,
                "invalid_recipient",
                format!("{:?} is not an address", mail.to),
            ));
        }
        let known = mail.key.is_some() && self.sent.keys().any(|sent| sent.key == mail.key);
        if !known {
            let count = self.sent.entry(mail).or_default();
            *count = count.saturating_add(1);
        }
        Ok(Answer::Ok(Vec::new()))
    }

    /// It knows nothing of who calls.
    fn rename(&mut self, _names: &Renaming) -> bool {
        true
    }

    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        let key = ["key", "to"].into_iter().find_map(|name| call.arguments.get(name));
        vec![(key.map(Value::to_string).unwrap_or_default().into(), true)]
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let rows = self.sent.iter().map(|(mail, count)| {
            vec![
                Value::Text(mail.to.clone()),
                Value::Text(mail.subject.clone()),
                Value::Text(mail.text.clone()),
                Value::Int((*count).into()),
            ]
        });
        let columns = ["recipient", "subject", "content"].map(|name| (Arc::from(name), Arc::from("text")));
        vec![VirtualTable {
            name: "mails".into(),
            columns: columns
                .into_iter()
                .chain([("copies".into(), "bigint".into())])
                .collect(),
            rows: rows.collect(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::{Mailer, send, send_once};
    use crate::machine::Pid;
    use crate::machine::service::{Answer, Call};
    use crate::world::service::Service;

    fn ask(mailer: &mut Mailer, call: &Call) -> Option<Answer> {
        mailer.call(Pid::root(0), call, 0).ok()
    }

    #[test]
    fn each_call_is_a_mail_and_a_key_is_used_once_whoever_it_is_for() {
        let mut mailer = Mailer::default();
        for _ in 0..2 {
            ask(&mut mailer, &send("a@b", "hello", "text"));
        }
        assert_eq!(mailer.sent().map(|(_, count)| count).collect::<Vec<_>>(), [2]);
        for to in ["a@b", "a@b", "c@d"] {
            ask(&mut mailer, &send_once("k", to, "once", "text"));
        }
        let once = mailer.sent().filter(|(mail, _)| &*mail.subject == "once");
        assert_eq!(
            once.map(|(mail, count)| (&*mail.to, count)).collect::<Vec<_>>(),
            [("a@b", 1)]
        );
    }

    #[test]
    fn what_is_no_address_is_refused_and_nothing_is_sent() {
        let mut mailer = Mailer::default();
        let answer = ask(&mut mailer, &send("nobody", "hello", "text"));
        assert!(
            matches!(answer, Some(Answer::Refused { status: 422, .. })),
            "{answer:?}"
        );
        assert_eq!(mailer.sent().count(), 0);
    }

    /// Whichever of them comes first is sent, to whom it is for: they do not commute.
    #[test]
    fn two_mails_under_one_key_touch_the_same() {
        let mailer = Mailer::default();
        let touched = |call: &Call| mailer.touches(call);
        assert_eq!(
            touched(&send_once("k", "a@b", "", "")),
            touched(&send_once("k", "c@d", "", ""))
        );
        assert_ne!(touched(&send("a@b", "", "")), touched(&send("c@d", "", "")));
    }
}
