//! The native media plane, without Python and without sockets: everything that happens per packet.
//!
//! `sfu/media/python_plane.py` is its readable reference: the same decisions, the same bytes.
#![forbid(unsafe_code)]

pub mod bits;
pub mod cache;
pub mod error;
pub mod extensions;
pub mod hub;
pub mod mirror;
pub mod nack;
pub mod pacer;
pub mod packet;
pub mod parameters;
pub mod payload;
pub mod plane;
pub mod pli_throttle;
pub mod reception;
pub mod red;
pub mod rtcp;
pub mod sequence;
pub mod srtp;
pub mod stun;
pub mod transport_cc;
pub mod twcc;

pub use egress::SubscriptionStats;
pub use ingress::EncodingStats;

mod arrivals;
mod av1;
mod demux;
mod dependency_descriptor;
mod egress;
mod egress_transport;
mod events;
mod feedback;
mod h264;
mod ingress;
mod layers;
#[cfg(test)]
mod mutation;
mod publication;
mod receive;
mod resent;
mod run;
mod srtp_crypto;
mod srtp_replay;
mod timers;
mod vp8;
mod vp9;
