//! A stack's settings, by number: connections of one stack may differ, and each keeps two bytes that say how.
//!
//! The table is bounded and inline; an entry lives while something refers to it, and equal settings share one. A connection
//! keeps its entry's offset in the table ([`ProfileRef`]), so that a look-up on the packet path is one addition.

use core::fmt;

use super::config::TcpConfig;

/// Profiles of one stack.
pub const MAX_PROFILES: usize = 16;

/// The number of a [`TcpConfig`] in its stack. The default is the one that the stack was made with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ProfileId(pub(crate) u8);

impl ProfileId {
    /// The stack's own settings ([`crate::stack::StackConfig::tcp`]).
    pub const DEFAULT: Self = Self(0);
}

/// There are [`MAX_PROFILES`] different settings in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfilesFull;

impl fmt::Display for ProfilesFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_PROFILES} different profiles are in use")
    }
}

impl core::error::Error for ProfilesFull {}

/// Where an entry is in every table: its offset in bytes. Made from a [`ProfileId`] only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ProfileRef(u16);

static_assertions::const_assert!(size_of::<TcpConfig>() * MAX_PROFILES <= u16::MAX as usize);

impl From<ProfileId> for ProfileRef {
    #[inline]
    fn from(id: ProfileId) -> Self {
        Self((usize::from(id.0) % MAX_PROFILES * size_of::<TcpConfig>()) as u16)
    }
}

impl From<ProfileRef> for ProfileId {
    fn from(at: ProfileRef) -> Self {
        Self((usize::from(at.0) / size_of::<TcpConfig>()) as u8)
    }
}

pub(crate) struct Profiles {
    entries: [TcpConfig; MAX_PROFILES],
    /// Connections, listeners and names given out that refer to each; 0 is a free entry.
    uses: [u32; MAX_PROFILES],
}

impl Profiles {
    /// With `default` as number 0, which stays.
    pub(crate) fn new(default: TcpConfig) -> Self {
        let mut uses = [0; MAX_PROFILES];
        uses[0] = 1;
        Self { entries: [default.within_limits(); MAX_PROFILES], uses }
    }

    /// The settings of a connection.
    #[inline(always)]
    pub(crate) fn at(&self, at: ProfileRef) -> &TcpConfig {
        // SAFETY: a `ProfileRef` is made from a number below MAX_PROFILES, times the size of an entry: one of this array's.
        unsafe { &*self.entries.as_ptr().byte_add(at.0.into()) }
    }

    /// The settings that a number stands for.
    pub(crate) fn get(&self, id: ProfileId) -> &TcpConfig {
        self.at(id.into())
    }

    fn uses_mut(&mut self, id: ProfileId) -> &mut u32 {
        &mut self.uses[usize::from(id.0) % MAX_PROFILES]
    }

    /// Whether the number stands for something.
    pub(crate) fn contains(&self, id: ProfileId) -> bool {
        self.uses.get(usize::from(id.0)).is_some_and(|uses| *uses > 0)
    }

    /// The entry with these settings, one of its uses being the caller's.
    pub(crate) fn intern(&mut self, config: &TcpConfig) -> Result<ProfileId, ProfilesFull> {
        let config = config.within_limits();
        let used = self.entries.iter().zip(&self.uses).position(|(e, uses)| *uses > 0 && *e == config);
        let place = used.or_else(|| self.uses.iter().position(|uses| *uses == 0)).ok_or(ProfilesFull)?;
        if let (Some(entry), Some(uses)) = (self.entries.get_mut(place), self.uses.get_mut(place)) {
            *entry = config;
            *uses += 1;
        }
        Ok(ProfileId(place as u8))
    }

    /// One more refers to it.
    pub(crate) fn take(&mut self, id: ProfileId) {
        *self.uses_mut(id) += 1;
    }

    /// One fewer refers to it.
    pub(crate) fn give_back(&mut self, id: ProfileId) {
        let uses = self.uses_mut(id);
        debug_assert!(*uses > 0, "a profile given back twice");
        *uses = uses.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ttl(ttl: u8) -> TcpConfig {
        TcpConfig { ttl, ..TcpConfig::DATACENTER }
    }

    #[test]
    fn equal_settings_share_an_entry_that_lives_while_it_is_used() {
        let mut p = Profiles::new(TcpConfig::DATACENTER);
        assert_eq!(p.intern(&TcpConfig::DATACENTER), Ok(ProfileId::DEFAULT));
        let a = p.intern(&with_ttl(1)).unwrap();
        assert_eq!(p.intern(&with_ttl(1)), Ok(a));
        assert_eq!(p.get(a).ttl, 1);
        p.give_back(a);
        assert!(p.contains(a), "one use is left");
        p.give_back(a);
        assert!(!p.contains(a));
        assert_eq!(p.intern(&with_ttl(2)), Ok(a), "the free entry goes to the next");
        assert_eq!(p.get(a).ttl, 2);
    }

    #[test]
    fn the_table_is_bounded_and_the_stacks_own_settings_stay() {
        let mut p = Profiles::new(TcpConfig::DATACENTER);
        for ttl in 1..MAX_PROFILES as u8 {
            assert_eq!(p.intern(&with_ttl(ttl)), Ok(ProfileId(ttl)));
        }
        assert_eq!(p.intern(&with_ttl(99)), Err(ProfilesFull));
        assert_eq!(p.intern(&with_ttl(3)), Ok(ProfileId(3)), "what is there needs no room");
        for n in 1..MAX_PROFILES as u8 {
            let at = ProfileRef::from(ProfileId(n));
            assert_eq!((p.at(at).ttl, ProfileId::from(at)), (n, ProfileId(n)));
        }
        assert_eq!(p.get(ProfileId(255)).ttl, 15, "whatever the number, an entry of the table");
        assert!(!p.contains(ProfileId(MAX_PROFILES as u8)) && !p.contains(ProfileId(255)));
        assert_eq!(p.get(ProfileId::DEFAULT).ttl, 64);
    }
}
