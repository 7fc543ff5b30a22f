//! The peers of a bench: publishers that send after a script, and subscribers that are read, or ask for what
//! they have not lost.
//!
//! Its sockets are inherited, connected, and known to the server already. It is told by lines on its input:
//!
//! - `publisher FD KEY` and `subscriber FD RECEIVE_KEY SEND_KEY PUBLISHER SSRC READ`: the peers, in this order.
//!   Keys are 28 bytes in hex, of AES-128-GCM; `PUBLISHER` counts from 0; `READ` is 1 where somebody reads it.
//! - `script KIND PERIOD_US`, then `step AT_US ENCODING PAYLOAD_BYTES FIRST LAST` for each packet of a period,
//!   of one frame FIRST and LAST 1 where it begins or ends one, then `end`.
//! - `run SECONDS KEYFRAMES NACKS FEEDBACK`: repeat the script, each publisher at a phase of its own. With
//!   `KEYFRAMES` every fourth frame is one. Of a million packets each subscriber asks for `NACKS` again. With
//!   `FEEDBACK` those who are read report what arrived.
//!
//! A run is answered with one line of JSON.

mod clock;
mod publisher;
mod subscriber;

use std::io::{Error, ErrorKind, Write, stdin, stdout};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::str::{FromStr, SplitWhitespace};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use publisher::{Publisher, Script, Step};
use subscriber::{Seen, Subscriber};

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

fn next<T: FromStr>(words: &mut SplitWhitespace) -> std::io::Result<T> {
    words.next().and_then(|word| word.parse().ok()).ok_or(wrong("a line is not understood"))
}

fn flag(words: &mut SplitWhitespace) -> std::io::Result<bool> {
    Ok(next::<u8>(words)? != 0)
}

fn key(words: &mut SplitWhitespace) -> std::io::Result<Vec<u8>> {
    let hex = words.next().filter(|hex| hex.len() == 56 && hex.is_ascii()).ok_or(wrong("a key"))?;
    let bytes: Result<Vec<u8>, _> = (0..28).map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16)).collect();
    bytes.map_err(|_| wrong("a key"))
}

/// A socket that whoever started this has left open for it.
fn inherited(words: &mut SplitWhitespace) -> std::io::Result<OwnedFd> {
    let number: RawFd = next(words)?;
    // SAFETY: each number is told once, of a descriptor that was passed on to be ours.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What of latencies is told, in microseconds.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("most", 1.0)];

fn quantiles(latencies: &mut [u32]) -> String {
    latencies.sort_unstable();
    let at = |share: f64| latencies.get(((latencies.len() as f64 * share) as usize).min(latencies.len() - 1));
    let told = SHARES.iter().filter_map(|(name, share)| Some(format!(r#""{name}": {}"#, at(*share)?)));
    if latencies.is_empty() { "null".into() } else { format!("{{{}}}", told.collect::<Vec<_>>().join(", ")) }
}

/// What a run is like.
struct Order {
    seconds: f64,
    keyframes: bool,
    nacks: u32,
    feedback: bool,
}

fn run(
    order: &Order,
    script: &Script,
    publishers: &mut [Publisher],
    subscribers: &mut [Subscriber],
) -> String {
    subscriber::prepare(subscribers, publishers);
    let sources: Vec<_> = publishers.iter().map(|publisher| publisher.sent.clone()).collect();
    let stopping = AtomicBool::new(false);
    let (mut sent, mut seen) = (publisher::Sent::default(), Seen::default());
    let before = clock::now_ns();
    thread::scope(|scope| {
        let reading =
            scope.spawn(|| subscriber::attend(subscribers, &sources, order.nacks, order.feedback, &stopping));
        sent = publisher::play(publishers, script, order.seconds, order.keyframes);
        stopping.store(true, Ordering::SeqCst);
        seen = reading.join().unwrap_or_default();
    });
    let took_s = (clock::now_ns() - before) as f64 / 1e9;
    let publisher::Sent { packets, mut late_us } = sent;
    let Seen { packets: read, missing, disordered, nacked, feedback, mut latencies_us } = seen;
    format!(
        r#"{{"took_s": {took_s}, "sent": {packets}, "late_us": {}, "read": {read}, "missing": {missing}, "disordered": {disordered}, "nacked": {nacked}, "feedback": {feedback}, "latency_us": {}}}"#,
        quantiles(&mut late_us),
        quantiles(&mut latencies_us),
    )
}

fn main() -> std::io::Result<()> {
    clock::wake_in_time();
    let (mut publishers, mut subscribers): (Vec<Publisher>, Vec<Subscriber>) = Default::default();
    let mut script = Script::default();
    for line in stdin().lines() {
        let line = line?;
        let words = &mut line.split_whitespace();
        match words.next() {
            Some("publisher") => publishers.push(Publisher::new(inherited(words)?, &key(words)?)?),
            Some("subscriber") => {
                let (socket, receive, send) = (inherited(words)?, key(words)?, key(words)?);
                let (source, ssrc, read) = (next(words)?, next(words)?, flag(words)?);
                subscribers.push(Subscriber::new(socket, &receive, &send, source, ssrc, read)?);
            }
            Some("script") => {
                let audio = next::<String>(words)? == "audio";
                script = Script { audio, period_ns: 1000 * next::<u64>(words)?, steps: Vec::new() };
            }
            Some("step") => script.steps.push(Step {
                at_ns: 1000 * next::<u64>(words)?,
                encoding: next(words)?,
                payload_bytes: next(words)?,
                first: flag(words)?,
                last: flag(words)?,
            }),
            Some("end") => {}
            Some("run") => {
                let (seconds, keyframes) = (next(words)?, flag(words)?);
                let order = Order { seconds, keyframes, nacks: next(words)?, feedback: flag(words)? };
                println!("{}", run(&order, &script, &mut publishers, &mut subscribers));
                stdout().flush()?;
            }
            _ => return Err(wrong("a line is not understood")),
        }
    }
    Ok(())
}
