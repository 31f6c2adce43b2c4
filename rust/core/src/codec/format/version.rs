//! Versions of the stored form, and the properties of each.

use super::axes::Axes;
use super::tensor::Payload;
use crate::codec::trellis::code_set::CodeSet;

/// A version of the stored form, of bytes and of parts alike.
#[derive(Debug)]
pub struct FormatVersion {
    number: u16,
    stores_axes: bool,
    code_set: &'static CodeSet,
}

/// Every version, the oldest first.
static VERSIONS: [FormatVersion; 4] = [
    FormatVersion {
        number: 1,
        stores_axes: false,
        code_set: CodeSet::FIRST,
    },
    FormatVersion {
        number: 2,
        stores_axes: true,
        code_set: CodeSet::FIRST,
    },
    FormatVersion {
        number: 3,
        stores_axes: false,
        code_set: CodeSet::SECOND,
    },
    FormatVersion {
        number: 4,
        stores_axes: true,
        code_set: CodeSet::SECOND,
    },
];

impl FormatVersion {
    /// The version in which a tensor is written: the oldest that can store it.
    pub(in crate::codec) fn of(axes: Axes, payload: &Payload) -> &'static Self {
        let can_store = |version: &&Self| {
            version.stores_axes == (axes != Axes::InOrder)
                && match payload {
                    Payload::Trellis(streams) => version.code_set == streams.code_set,
                    _ => true,
                }
        };
        let version = VERSIONS.iter().find(can_store);
        version.expect("every code set has a version with axes, and one without")
    }

    /// The version of this number.
    pub fn from_number(number: u32) -> Option<&'static Self> {
        VERSIONS.iter().find(|v| u32::from(v.number) == number)
    }

    /// The numbers of all versions.
    pub fn numbers() -> Vec<u16> {
        VERSIONS.iter().map(Self::number).collect()
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Whether the order of the axes is stored.
    pub fn stores_axes(&self) -> bool {
        self.stores_axes
    }

    /// The code set that trellis codes use.
    pub fn code_set(&self) -> &'static CodeSet {
        self.code_set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::trellis::code_set::CODE_SETS;

    #[test]
    fn every_code_set_has_a_version_with_axes_and_one_without() {
        for set in &CODE_SETS {
            for axes in [false, true] {
                let says = |v: &&FormatVersion| v.code_set() == set && v.stores_axes() == axes;
                assert_eq!(VERSIONS.iter().filter(says).count(), 1, "set {}", set.id());
            }
        }
    }

    #[test]
    fn numbers_stand_for_versions() {
        assert_eq!(FormatVersion::numbers(), [1, 2, 3, 4]);
        for number in FormatVersion::numbers() {
            let version = FormatVersion::from_number(number.into());
            assert_eq!(version.map(FormatVersion::number), Some(number));
        }
        assert!(FormatVersion::from_number(0).is_none());
        assert!(FormatVersion::from_number(65536 + 1).is_none());
    }
}
