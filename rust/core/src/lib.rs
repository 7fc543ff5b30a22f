//! The native media plane, without Python and without sockets: everything that happens per packet.
//!
//! `sfu/media/python_plane.py` is its readable reference: the same decisions, the same bytes.
#![forbid(unsafe_code)]

pub mod bits;
pub mod cache;
pub mod error;
pub mod extensions;
pub mod nack;
pub mod packet;
pub mod parameters;
pub mod payload;
pub mod reception;
pub mod red;
pub mod rtcp;
pub mod sequence;
pub mod srtp;
pub mod transport_cc;

mod av1;
mod h264;
mod srtp_crypto;
mod srtp_replay;
mod vp8;
mod vp9;
