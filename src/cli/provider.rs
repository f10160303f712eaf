//! `deadheat provider`: the payment provider as a server, until a signal stops it.

use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::args::{Provider, SchemeArg};
use super::exit::Exit;
use super::output::Output;
use crate::live::provider::{Endpoint, Options, Plan, Scheme, ServeError, Server, Told};

pub(super) fn run(args: &Provider, output: &Output) -> Exit {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(error) => return output.usage(error),
    };
    // Before there is another thread, so that no thread is ended by them and this one can wait for them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if let Err(error) = signals.thread_block() {
        output.message(&format!("deadheat: signals can't be waited for: {error}"));
        return Exit::Environment;
    }
    let teller = *output;
    let options = Options {
        beyond_loopback: args.beyond_loopback,
        latency: milliseconds(args.latency),
        webhooks: endpoint(args),
        plan,
        api_version: args.api_version.clone(),
        told: Told::to(move |line| teller.message(line)),
        ..Options::new(args.listen)
    };
    let server = match Server::start(options) {
        Ok(server) => server,
        Err(error @ (ServeError::NotLoopback(_) | ServeError::Endpoint(_))) => return output.usage(error),
        Err(error @ (ServeError::InUse(_) | ServeError::Failed { .. })) => {
            output.message(&format!("deadheat: {error}"));
            return Exit::Environment;
        }
    };
    output.result(&format!("listening on http://{}\n", server.address()));
    // An error is as good as a signal: there is nothing to wait for.
    let _ = signals.wait();
    server.stop();
    output.message("stopped");
    Exit::AsExpected
}

/// The faults of the file, and then those of the command line.
fn plan(args: &Provider) -> Result<Plan, String> {
    let mut lines = Vec::new();
    if let Some(file) = &args.plan {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let read = Plan::lines(&text);
        lines = read.map_err(|(line, error)| format!("{}:{line}: {error}", file.display()))?;
    }
    lines.extend(args.faults.iter().cloned());
    Plan::of(lines).map_err(|error| error.to_string())
}

fn endpoint(args: &Provider) -> Option<Endpoint> {
    let all = || vec!["*".into()];
    Some(Endpoint {
        url: args.webhook.clone()?,
        secrets: args.secrets.clone(),
        scheme: match args.webhook_scheme {
            SchemeArg::Stripe => Scheme::Stripe,
            SchemeArg::Standard => Scheme::Standard,
        },
        types: match args.types.is_empty() {
            true => all(),
            false => args.types.iter().map(|kind| kind.as_str().into()).collect(),
        },
        attempts: args.webhook_attempts.get(),
        pause: milliseconds(args.webhook_pause),
    })
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count.into())
}
