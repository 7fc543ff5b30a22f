//! For property tests: what a parser takes, a little changed. Arbitrary bytes hardly get past its first look.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Remove(Index),
    Insert(Index, Vec<u8>),
    /// What lies between the two once more, after the second.
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        3 => (at(), prop_oneof![Just(0), Just(1), Just(0x7F), Just(0xFF), any::<u8>()])
            .prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => at().prop_map(Change::Cut),
        1 => at().prop_map(Change::Remove),
        1 => (at(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(data: &mut Vec<u8>, change: Change) {
    if data.is_empty() {
        return;
    }
    let size = data.len();
    match change {
        Change::Flip(at, bit) => *at.get_mut(data) ^= bit,
        Change::Set(at, byte) => *at.get_mut(data) = byte,
        Change::Cut(at) => data.truncate(at.index(size)),
        Change::Remove(at) => {
            data.remove(at.index(size));
        }
        Change::Insert(at, bytes) => {
            let at = at.index(size);
            data.splice(at..at, bytes);
        }
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(size), to.index(size));
            let again = data[from.min(to)..from.max(to)].to_vec();
            let at = from.max(to);
            data.splice(at..at, again);
        }
    }
}

/// What the strategy makes, with none to some changes.
pub fn mutated(whole: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (whole, vec(change(), 0..6)).prop_map(|(mut data, changes)| {
        for change in changes {
            apply(&mut data, change);
        }
        data
    })
}

/// One of these, in hexadecimal digits.
pub fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(all).prop_map(|text| {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    })
}
