//! Many datagrams with one call of the system: `recvmmsg` with arrival times, `sendmmsg` with segments.
//!
//! No safe binding has arrival times on the one and a segment size for each message on the other, so the calls
//! are made here, and nowhere else.

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams taken from, or given to, the system at once.
pub const BATCH: usize = 64;
/// More than any path MTU lets through; a longer datagram is cut and fails its authentication.
pub const DATAGRAM_BYTES: usize = 2048;
/// A datagram older than this says that the wall clock was set.
const OLDEST_US: i64 = 500_000;
const CONTROL_BYTES: usize = 64;

/// Room for control messages, aligned as they have to be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// An address as the system takes it.
#[derive(Clone, Copy)]
pub struct RawAddress {
    storage: libc::sockaddr_in6,
    size: libc::socklen_t,
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        // SAFETY: all zeros is a value of this plain C struct.
        let mut storage: libc::sockaddr_in6 = unsafe { zeroed() };
        match address {
            SocketAddr::V4(v4) => {
                let short = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_in is smaller than sockaddr_in6, and aligned alike.
                unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(short) };
                Self { storage, size: size_of::<libc::sockaddr_in>() as libc::socklen_t }
            }
            SocketAddr::V6(v6) => {
                storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                storage.sin6_port = v6.port().to_be();
                storage.sin6_addr.s6_addr = v6.ip().octets();
                storage.sin6_scope_id = v6.scope_id();
                Self { storage, size: size_of::<libc::sockaddr_in6>() as libc::socklen_t }
            }
        }
    }
}

/// Memory for one batch of datagrams that come in.
pub struct Inbound {
    bytes: Vec<[u8; DATAGRAM_BYTES]>,
    names: [libc::sockaddr_in6; BATCH],
    sizes: [usize; BATCH],
    /// When the kernel took each in by the wall clock, ns; 0 where it does not say.
    taken_ns: [i64; BATCH],
    wall_ns: i64,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            bytes: vec![[0; DATAGRAM_BYTES]; BATCH],
            // SAFETY: all zeros is a value of this plain C struct.
            names: unsafe { zeroed() },
            sizes: [0; BATCH],
            taken_ns: [0; BATCH],
            wall_ns: 0,
        }
    }
}

impl Inbound {
    /// Take what waits on a socket, `BATCH` datagrams at most, without waiting for any. Returns how many came.
    pub fn receive(&mut self, socket: BorrowedFd) -> io::Result<usize> {
        let mut controls = [Control([0; CONTROL_BYTES]); BATCH];
        let mut slices = [MaybeUninit::<libc::iovec>::uninit(); BATCH];
        // SAFETY: all zeros is a value of this plain C struct.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        // One pointer to each array: to borrow it once more for the next element would end what was made before.
        let (bytes, names) = (self.bytes.as_mut_ptr(), self.names.as_mut_ptr());
        let (slices, controls) = (slices.as_mut_ptr(), controls.as_mut_ptr());
        for (index, header) in headers.iter_mut().enumerate() {
            // SAFETY: all four arrays have `BATCH` elements, as there are headers.
            let (bytes, name, slice, control) =
                unsafe { (bytes.add(index), names.add(index), slices.add(index), controls.add(index)) };
            let slice = slice.cast::<libc::iovec>();
            // SAFETY: it is an element of `slices`, which nothing else refers to.
            unsafe { slice.write(libc::iovec { iov_base: bytes.cast(), iov_len: DATAGRAM_BYTES }) };
            let header = &mut header.msg_hdr;
            header.msg_name = name.cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            header.msg_iov = slice;
            header.msg_iovlen = 1;
            header.msg_control = control.cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: every header points to memory above or in `self`, of the length it says, that outlives the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (index, header) in headers[..count].iter().enumerate() {
            self.sizes[index] = (header.msg_len as usize).min(DATAGRAM_BYTES);
            self.taken_ns[index] = arrival_ns(&header.msg_hdr);
        }
        self.wall_ns = nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Realtime));
        Ok(count)
    }

    /// The bytes of a datagram of the last batch.
    pub fn data(&self, index: usize) -> &[u8] {
        &self.bytes[index][..self.sizes[index]]
    }

    /// Where it came from, None for a family that is none of ours.
    pub fn address(&self, index: usize) -> Option<SocketAddr> {
        let name = &self.names[index];
        match i32::from(name.sin6_family) {
            libc::AF_INET => {
                // SAFETY: the system says that it wrote a sockaddr_in, which is smaller and aligned alike.
                let short = unsafe { (&raw const *name).cast::<libc::sockaddr_in>().read() };
                let host = Ipv4Addr::from(short.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(host, u16::from_be(short.sin_port)).into())
            }
            libc::AF_INET6 => {
                let host = Ipv6Addr::from(name.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(host, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// How long before the batch was taken it came to this machine.
    pub fn age_us(&self, index: usize) -> i64 {
        if self.taken_ns[index] == 0 {
            return 0;
        }
        let age_us = (self.wall_ns - self.taken_ns[index]) / 1000;
        if (0..=OLDEST_US).contains(&age_us) { age_us } else { 0 }
    }
}

/// The SCM_TIMESTAMPNS of a message, 0 where there is none.
fn arrival_ns(header: &libc::msghdr) -> i64 {
    // SAFETY: the system filled in the header, whose control memory still lives.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole control message within that memory.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: this kind of message holds a timespec, perhaps not aligned.
            let stamp = unsafe { libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned() };
            return stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec;
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    0
}

fn nanoseconds(time: rustix::time::Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The monotonic clock in microseconds, as Python's `sfu.clock.now_us` reads it.
pub fn now_us() -> i64 {
    nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)) / 1000
}

/// One message to send: `count` of the slices from `first` on, one after the other, to one address.
///
/// With a `segment` they are cut into datagrams of so many bytes, the last perhaps shorter; 0 makes one of them.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub first: usize,
    pub count: usize,
    pub to: &'a RawAddress,
    pub segment: u16,
}

/// Give messages to the system, `BATCH` at most, without waiting. Returns how many of them it took.
pub fn send(socket: BorrowedFd, slices: &[IoSlice], messages: &[Message]) -> io::Result<usize> {
    let messages = &messages[..messages.len().min(BATCH)];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    for (index, message) in messages.iter().enumerate() {
        let slices = &slices[message.first..message.first + message.count];
        // SAFETY: all zeros is a value of this plain C struct.
        let header = headers[index].write(unsafe { zeroed() });
        header.msg_hdr.msg_name = (&raw const message.to.storage).cast_mut().cast();
        header.msg_hdr.msg_namelen = message.to.size;
        header.msg_hdr.msg_iov = slices.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_iovlen = slices.len() as _;
        if message.segment != 0 {
            let control = controls[index].write(Control([0; CONTROL_BYTES]));
            cut(&mut header.msg_hdr, control, message.segment);
        }
    }
    // SAFETY: as many headers as are told of are written; they point to names, slices (`IoSlice` is an iovec) and
    // control messages that outlive the call, and the system only reads those.
    let count = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            messages.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Ask for a message to be cut into datagrams of `size` bytes.
fn cut(header: &mut libc::msghdr, control: &mut Control, size: u16) {
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, length) =
        unsafe { (libc::CMSG_SPACE(size_of::<u16>() as u32), libc::CMSG_LEN(size_of::<u16>() as u32)) };
    header.msg_controllen = space as _;
    // SAFETY: `control` is aligned for a control message and larger than one with a u16.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = length as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
    }
}

/// Make a socket refuse segments, as some interfaces do: without checksums the kernel cuts nothing.
#[cfg(test)]
pub fn refuse_segments(socket: BorrowedFd) {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, which outlives the call.
    let done = unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            size,
        )
    };
    assert_eq!(done, 0);
}
