//! The last packets of one encoding, kept to answer NACKs and to catch up with a keyframe's late beginning.

/// Holds the packets of the last `capacity` unwrapped sequence numbers, whatever order they come in.
///
/// One cache serves every subscriber: it holds what arrived, and each subscriber's numbers are mapped back.
#[derive(Debug)]
pub struct PacketCache<P> {
    slots: Vec<Option<(i64, Box<P>)>>,
}

impl<P> PacketCache<P> {
    /// `capacity` (1 at least) is rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        let size = capacity.max(1).next_power_of_two();
        Self { slots: std::iter::repeat_with(|| None).take(size).collect() }
    }

    /// Remember a packet, unless its place is taken by a newer one. What it replaces comes back, or itself:
    /// memory that the next packet can use.
    pub fn put(&mut self, ext_seq: i64, packet: Box<P>) -> Result<Option<Box<P>>, Box<P>> {
        let at = self.slot(ext_seq);
        let slot = &mut self.slots[at];
        if slot.as_ref().is_some_and(|(number, _)| *number > ext_seq) {
            return Err(packet);
        }
        Ok(slot.replace((ext_seq, packet)).map(|(_, before)| before))
    }

    /// The packet with that number, None where it never came or is too old.
    pub fn get(&self, ext_seq: i64) -> Option<&P> {
        match &self.slots[self.slot(ext_seq)] {
            Some((number, packet)) if *number == ext_seq => Some(packet),
            _ => None,
        }
    }

    fn slot(&self, ext_seq: i64) -> usize {
        ext_seq as usize & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_packet_keeps_its_place() {
        let mut cache = PacketCache::new(3);
        assert_eq!(cache.put(1, Box::new(1)), Ok(None));
        assert_eq!(cache.put(5, Box::new(5)), Ok(Some(Box::new(1))));
        assert_eq!(cache.put(1, Box::new(1)), Err(Box::new(1)));
        assert_eq!((cache.get(1), cache.get(5)), (None, Some(&5)));
    }
}
