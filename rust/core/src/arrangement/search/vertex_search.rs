//! A search of an arrangement, and the choice of its arithmetic.
//!
//! A search tries the narrowest numbers first: integers that doubles hold, then integers of 128 bits, then
//! residues modulo a short prime beside exact integers, then residues modulo a prime larger than twice
//! Hadamard's bound, or fractions. Each of these is a [`Tier`].
//! If the numbers of a subtree do not fit one tier, the next tier searches the subtree from its root. No
//! vertex of the subtree has been reported before, so none is reported twice.

use std::sync::Arc;

use super::workspaces::Idle;
use crate::arrangement::arithmetic::PRIME_50;
use crate::arrangement::cobases::zero_lanes;
use crate::arrangement::coordinates::Space;
use crate::arrangement::flats::{LongMatrix, Matrix};
use crate::arrangement::halfspaces::Halfspaces;
use crate::arrangement::input::{Arithmetic, Arrangement, Bound, Frame};
use crate::{Control, Result, SimdLevel};

/// The method of a search. All methods find the same vertices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reverse search over flats. It visits each vertex once, even if the vertex is degenerate.
    Flats,
    /// Reverse search over cobases by the Zero rule. It also counts the cobases.
    Zero,
}

/// A search of an arrangement, ready to run jobs.
#[derive(Clone, Debug)]
pub struct VertexSearch {
    pub(super) arrangement: Arc<Arrangement>,
    pub(super) method: Method,
    pub(super) simd: SimdLevel,
    pub(super) limbs: usize,
    pub(super) tiers: Vec<Tier>,
    /// The polyhedron to which the search is restricted.
    pub(super) within: Option<Arc<Halfspaces>>,
    /// Workspaces that no worker uses at present.
    pub(super) idle: Idle,
}

/// One arithmetic that a search can run in.
#[derive(Clone, Debug)]
pub(super) enum Tier {
    Narrow(Arc<Matrix<i64>>),
    Wide(Arc<Matrix<i128>>),
    /// Flats modulo a prime and on exact bases.
    Residues(Arc<LongMatrix>),
    /// The Zero rule modulo a prime below 2⁵⁰.
    LaneCobases,
    /// The Zero rule in integers of any size. The field is for estimates.
    IntegerCobases(Arithmetic),
    Field(Arithmetic),
}

impl VertexSearch {
    /// Prepare a search with the vector instructions that are in use.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and those of [`SimdLevel::in_use`].
    pub fn new(arrangement: Arrangement, method: Method, control: &Control) -> Result<Self> {
        Self::on(SimdLevel::in_use()?, arrangement, method, control)
    }

    /// Prepare a search with these vector instructions.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn on(
        simd: SimdLevel,
        arrangement: Arrangement,
        method: Method,
        control: &Control,
    ) -> Result<Self> {
        let bound = Bound::of(arrangement.rows(), arrangement.dimension(), control)?;
        let arithmetic = bound.arithmetic();
        let mut tiers = Vec::new();
        if method == Method::Flats && arrangement.dimension() >= 2 {
            tiers.extend(machine_tiers(simd, &arrangement, &bound, control)?);
            tiers.extend(residue_tier(&arrangement, &bound, control)?);
        }
        let in_lanes = bound.is_below(PRIME_50) && zero_lanes::is_worthwhile(simd);
        if method == Method::Zero && in_lanes {
            tiers.push(Tier::LaneCobases);
        } else if method == Method::Zero && arithmetic.is_wide() && bound.coordinate_limbs() > 1 {
            // Only for coordinates of several words: those of one word would have to be in lowest terms.
            tiers.push(Tier::IntegerCobases(arithmetic));
        } else {
            tiers.push(Tier::Field(arithmetic));
        }
        Ok(Self {
            limbs: bound.coordinate_limbs(),
            arrangement: Arc::new(arrangement),
            method,
            simd,
            tiers,
            within: None,
            idle: Idle::default(),
        })
    }

    /// The same search, of those vertices only that satisfy all inequalities. Flats that miss the polyhedron are
    /// not entered. Cobases are all visited: those of one subtree lie on no common flat.
    #[must_use]
    pub fn within(mut self, halfspaces: Halfspaces) -> Self {
        self.within = Some(Arc::new(halfspaces));
        self
    }

    /// Prepare a search in one field only. The caller has to know that its zero tests are exact. Tests compare
    /// the other tiers with it.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_field(
        arrangement: Arrangement,
        method: Method,
        arithmetic: Arithmetic,
        control: &Control,
    ) -> Result<Self> {
        Ok(Self {
            tiers: vec![Tier::Field(arithmetic)],
            idle: Idle::default(),
            ..Self::new(arrangement, method, control)?
        })
    }

    /// Prepare a search over flats that begins with residues beside exact integers, also where shorter numbers would
    /// do. Tests compare it with the other tiers.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn in_residues(
        simd: SimdLevel,
        arrangement: Arrangement,
        control: &Control,
    ) -> Result<Self> {
        let search = Self::on(simd, arrangement, Method::Flats, control)?;
        let bound = Bound::of(
            search.arrangement.rows(),
            search.arrangement.dimension(),
            control,
        )?;
        // Coordinates of one word would have to be in lowest terms.
        let limbs = search.limbs.max(2);
        let sizes = (bound.limbs().max(limbs), limbs);
        let mut tiers = vec![Tier::Field(bound.arithmetic())];
        if search.arrangement.dimension() >= 2 {
            tiers.insert(0, residues(&search.arrangement, sizes, control)?);
        }
        Ok(Self {
            limbs,
            tiers,
            idle: Idle::default(),
            ..search
        })
    }

    /// The inequalities that restrict the search.
    pub fn halfspaces(&self) -> Option<&Halfspaces> {
        self.within.as_deref()
    }

    /// The arrangement.
    pub fn arrangement(&self) -> &Arrangement {
        &self.arrangement
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Free the workspaces that are kept from one run to the next.
    pub fn release(&self) {
        self.idle.clear();
    }

    /// The number of 64-bit words of each coordinate.
    pub fn limbs(&self) -> usize {
        self.limbs
    }
}

/// The tier for minors of more than 128 bits. `None` if they are shorter, or so long that one product can take
/// many milliseconds or the bases of the flats of one path take more than a gigabyte.
fn residue_tier(
    arrangement: &Arrangement,
    bound: &Bound,
    control: &Control,
) -> Result<Option<Tier>> {
    // `choice.py` has the same limits, in bits.
    const MOST_LIMBS: usize = 1 << 12;
    const MOST_WORDS: usize = 1 << 27;
    let limbs = (bound.limbs(), bound.coordinate_limbs());
    let words = (arrangement.dimension() + 1).pow(3) / 2 * limbs.0;
    // Coordinates of one word would have to be in lowest terms.
    if !bound.arithmetic().is_wide() || limbs.1 < 2 || limbs.0 > MOST_LIMBS || words > MOST_WORDS {
        return Ok(None);
    }
    residues(arrangement, limbs, control).map(Some)
}

/// The tier in residues, for minors and coordinates of so many words.
fn residues(arrangement: &Arrangement, limbs: (usize, usize), control: &Control) -> Result<Tier> {
    let width = arrangement.dimension() + 1;
    let matrix = LongMatrix::new(arrangement.rows(), width, limbs, control)?;
    Ok(Tier::Residues(Arc::new(matrix)))
}

/// Minors of more bits make most planes outgrow [`Tier::Narrow`]. A row on a plane has a third of them, and its
/// value at the basis of a line half.
const NARROW_BITS: u64 = 104;
const MOST_WIDE_DIMENSIONS: usize = 8;

/// The tiers in machine integers, in coordinates that make the rows short.
fn machine_tiers(
    simd: SimdLevel,
    arrangement: &Arrangement,
    bound: &Bound,
    control: &Control,
) -> Result<Vec<Tier>> {
    let (dimension, limbs) = (arrangement.dimension(), bound.coordinate_limbs());
    // Coordinates of one word have to be in lowest terms, and a map from other coordinates does not give that.
    let frame = if limbs > 1 {
        Frame::of(arrangement, control)?
    } else {
        None
    };
    let frame = frame.map(|frame| Ok((Bound::of(&frame.rows, dimension, control)?, frame)));
    let frame = frame.transpose()?;
    // If the bound becomes only a little smaller, the conversion of vertices costs more than it saves.
    let framed = frame.filter(|(other, _)| other.bits() * 4 < bound.bits() * 3);
    let (bound, rows, map) = match &framed {
        Some((bound, frame)) => (bound, &frame.rows[..], Some(&frame.map[..])),
        None => (bound, arrangement.rows(), None),
    };
    let space = Space::new(simd, dimension + 1, limbs, map);
    let minors_fit = bound.arithmetic() == Arithmetic::Mersenne61;
    let mut tiers = Vec::new();
    if bound.typical_bits() <= NARROW_BITS {
        let narrow = Matrix::new(rows, dimension + 1, minors_fit, &space);
        tiers.extend(narrow.map(|m| Tier::Narrow(Arc::new(m))));
    }
    // In many dimensions the reduction of a lattice takes longer than residues do.
    let many = dimension > MOST_WIDE_DIMENSIONS && bound.arithmetic().is_wide();
    if bound.limbs() <= 6 && !many {
        let wide = Matrix::new(rows, dimension + 1, minors_fit, &space);
        tiers.extend(wide.map(|m| Tier::Wide(Arc::new(m))));
    }
    Ok(tiers)
}
