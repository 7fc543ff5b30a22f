//! The sockets and threads around the sans-IO media plane.
//!
//! Worker threads receive on sockets of their own (SO_REUSEPORT). A transport belongs to one *lane*: a plane
//! that one thread at a time works on. The thread that has received a datagram works on its lane and sends from
//! there if the lane is free, else leaves it to whoever is at it. What is not media goes up, through a bounded
//! queue, to the owner of the ports.
#![deny(unsafe_code)]

mod control;
mod engine;
mod gather;
mod lane;
#[allow(unsafe_code)]
mod mmsg;
mod patience;
mod placement;
#[allow(unsafe_code)]
mod priority;
mod routes;
mod shared;
mod upward;
mod worker;

pub use engine::{At, Engine, Fault};
pub use gather::Gather;
pub use mmsg::Inbound;
pub use priority::schedule;
pub use routes::{Routes, Socket};
pub use upward::Datagram;
