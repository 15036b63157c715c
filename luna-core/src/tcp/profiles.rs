//! A stack's settings, by number: connections of one stack may differ, and each keeps one byte that says how.
//!
//! The table is bounded and inline; an entry lives while something refers to it, and equal settings share one. On the
//! packet path a look-up is a mask, a shift and an addition: the number of entries and the size of each are powers of two.

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

/// Its size is a power of two.
#[derive(Clone, Copy)]
#[repr(align(256))]
struct Entry(TcpConfig);

static_assertions::const_assert!(size_of::<Entry>().is_power_of_two());
static_assertions::const_assert!(MAX_PROFILES.is_power_of_two());

pub(crate) struct Profiles {
    entries: [Entry; MAX_PROFILES],
    /// Connections, listeners and names given out that refer to each; 0 is a free entry.
    uses: [u32; MAX_PROFILES],
}

impl Profiles {
    /// With `default` as number 0, which stays.
    pub(crate) fn new(default: TcpConfig) -> Self {
        let mut uses = [0; MAX_PROFILES];
        uses[0] = 1;
        Self { entries: [Entry(default); MAX_PROFILES], uses }
    }

    #[inline(always)]
    fn index(profile: u8) -> usize {
        usize::from(profile) % MAX_PROFILES
    }

    /// The settings of a connection.
    #[inline(always)]
    pub(crate) fn get(&self, profile: u8) -> &TcpConfig {
        &self.entries[Self::index(profile)].0
    }

    /// Whether the number stands for something.
    pub(crate) fn contains(&self, id: ProfileId) -> bool {
        self.uses.get(usize::from(id.0)).is_some_and(|uses| *uses > 0)
    }

    /// The entry with these settings, one of its uses being the caller's.
    pub(crate) fn intern(&mut self, config: &TcpConfig) -> Result<ProfileId, ProfilesFull> {
        let used = self.entries.iter().zip(&self.uses).position(|(e, uses)| *uses > 0 && e.0 == *config);
        let place = used.or_else(|| self.uses.iter().position(|uses| *uses == 0)).ok_or(ProfilesFull)?;
        if let (Some(entry), Some(uses)) = (self.entries.get_mut(place), self.uses.get_mut(place)) {
            entry.0 = *config;
            *uses += 1;
        }
        Ok(ProfileId(place as u8))
    }

    /// One more refers to it.
    pub(crate) fn take(&mut self, profile: u8) {
        self.uses[Self::index(profile)] += 1;
    }

    /// One fewer refers to it.
    pub(crate) fn give_back(&mut self, profile: u8) {
        let uses = &mut self.uses[Self::index(profile)];
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
        assert_eq!(p.get(a.0).ttl, 1);
        p.give_back(a.0);
        assert!(p.contains(a), "one use is left");
        p.give_back(a.0);
        assert!(!p.contains(a));
        assert_eq!(p.intern(&with_ttl(2)), Ok(a), "the free entry goes to the next");
        assert_eq!(p.get(a.0).ttl, 2);
    }

    #[test]
    fn the_table_is_bounded_and_the_stacks_own_settings_stay() {
        let mut p = Profiles::new(TcpConfig::DATACENTER);
        for ttl in 1..MAX_PROFILES as u8 {
            assert_eq!(p.intern(&with_ttl(ttl)), Ok(ProfileId(ttl)));
        }
        assert_eq!(p.intern(&with_ttl(99)), Err(ProfilesFull));
        assert_eq!(p.intern(&with_ttl(3)), Ok(ProfileId(3)), "what is there needs no room");
        assert!(!p.contains(ProfileId(MAX_PROFILES as u8)) && !p.contains(ProfileId(255)));
        assert_eq!(p.get(0).ttl, 64);
    }
}
