//! What one call of a plugin may use: as much as any, or what the plugin was granted in its place.

use crate::{
    grants::{Capability, GuestGrants, Limited},
    sandbox::CallLimits,
};
use std::time::Duration;

/// The limits of a call that has these by itself, of a chain that has this much time left.
pub fn of(grants: &GuestGrants, default: CallLimits, time_left: Duration) -> CallLimits {
    of_granted(grants.effective(), default, time_left)
}

/// How long a call of a plugin with these grants may take.
pub fn wall(grants: &GuestGrants, default: Duration) -> Duration {
    of(grants, CallLimits { wall: default, ..CallLimits::default() }, Duration::MAX).wall
}

/// The same where all of these are effective. Of several grants of one limit the widest counts.
pub fn of_granted<'a>(
    granted: impl Iterator<Item = &'a Capability>,
    default: CallLimits,
    time_left: Duration,
) -> CallLimits {
    let (mut memory_mib, mut wall_ms, mut cpu_ms) = (None, None, None);
    for (what, amount) in granted.filter_map(Capability::limit) {
        let most = match what {
            Limited::MemoryMib => &mut memory_mib,
            Limited::WallMs => &mut wall_ms,
            Limited::CpuMs => &mut cpu_ms,
        };
        *most = (*most).max(Some(amount));
    }
    let ms = |amount: u32| Duration::from_millis(amount.into());
    let wall = wall_ms.map_or(default.wall, ms).min(time_left);
    CallLimits {
        wall,
        cpu: cpu_ms.map_or(default.cpu, ms).min(wall),
        memory_bytes_max: memory_mib.map_or(default.memory_bytes_max, |mib| (mib as usize) << 20),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::CapabilityKind;

    #[test]
    fn a_granted_limit_stands_in_the_place_of_the_default_be_it_more_or_less() {
        let granted = |targets: &[&str]| {
            let granted: Vec<_> =
                targets.iter().map(|target| Capability::new(CapabilityKind::Limit, *target)).collect();
            let default = CallLimits { wall: Duration::from_secs(30), ..CallLimits::default() };
            let limits = of_granted(granted.iter(), default, Duration::from_secs(40));
            (limits.memory_bytes_max >> 20, limits.wall.as_millis(), limits.cpu.as_millis())
        };
        assert_eq!(granted(&[]), (64, 30_000, 10_000));
        assert_eq!(granted(&["memory_mib=128", "cpu_ms=20000"]), (128, 30_000, 20_000));
        assert_eq!(granted(&["memory_mib=8", "wall_ms=500"]), (8, 500, 500));
        assert_eq!(
            granted(&["wall_ms=20000", "wall_ms=60000"]),
            (64, 40_000, 10_000),
            "what is left of the chain"
        );
    }
}
