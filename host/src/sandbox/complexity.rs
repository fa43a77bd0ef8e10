//! How long a module's functions take to compile, guessed from their shape.
//!
//! Compile time does not follow size: 16 KiB of nested loops over a thousand
//! locals keep the compiler busy for minutes and fill gigabytes. What it
//! follows is how many values meet at how many places: for each local (and
//! parameter, and result) the compiler may need one at every branch, and one
//! more for each loop around it. That product is the *weight* of a function:
//! measured, half a microsecond to two for each, while it stays below the limits.
//!
//! It is a guess that keeps known bombs out. It does not replace limits on the
//! compiler itself.

use super::limits::{FUNCTION_LOCALS_MAX, FUNCTION_WEIGHT_MAX, SIGNATURE_VALUES_MAX};
use super::verify::{LoadError, invalid, limit};
use wasmparser::{BlockType, FunctionBody, FunctionSectionReader, Operator, TypeSectionReader};

/// The module being looked at: what its functions take and return.
#[derive(Default)]
pub(super) struct Module {
    /// For each type, how many parameters and results.
    types: Vec<usize>,
    /// For each function with a body, its type.
    functions: Vec<u32>,
    bodies_seen: usize,
}

impl Module {
    pub(super) fn add_types(&mut self, section: TypeSectionReader<'_>) -> Result<(), LoadError> {
        for ty in section.into_iter_err_on_gc_types() {
            let ty = ty.map_err(|error| invalid(&error))?;
            let values = ty.params().len() + ty.results().len();
            limit("parameters and results in one type", values, SIGNATURE_VALUES_MAX)?;
            self.types.push(values);
        }
        Ok(())
    }

    pub(super) fn add_functions(&mut self, section: FunctionSectionReader<'_>) -> Result<(), LoadError> {
        for ty in section {
            self.functions.push(ty.map_err(|error| invalid(&error))?);
        }
        Ok(())
    }

    /// The weight of the next function.
    pub(super) fn weigh(&mut self, body: &FunctionBody<'_>) -> Result<usize, LoadError> {
        let ty = self.functions.get(self.bodies_seen).copied();
        self.bodies_seen += 1;
        // A wrong index is for the validator to tell.
        let signature = ty.and_then(|ty| self.values_of(ty)).unwrap_or(0);
        let (meetings, block_values) = self.meetings(body)?;
        let values = locals(body)? + signature + block_values + 1;
        let weight = values.saturating_mul(meetings);
        limit("units of weight in one function (values at branches and loops)", weight, FUNCTION_WEIGHT_MAX)?;
        Ok(weight)
    }

    fn values_of(&self, ty: u32) -> Option<usize> {
        self.types.get(usize::try_from(ty).ok()?).copied()
    }

    /// Places where control flow meets, each counted once more for each loop
    /// around it; and the most values that any block takes and gives.
    fn meetings(&self, body: &FunctionBody<'_>) -> Result<(usize, usize), LoadError> {
        let (mut meetings, mut block_values) = (1_usize, 0_usize);
        // For each open block, whether it is a loop.
        let mut open = vec![];
        let mut loops = 0_usize;
        let mut operators = body.get_operators_reader().map_err(|error| invalid(&error))?;
        while !operators.eof() {
            let ways = match operators.read().map_err(|error| invalid(&error))? {
                Operator::Loop { blockty } => {
                    open.push(true);
                    loops += 1;
                    block_values = block_values.max(self.block_values(blockty));
                    1
                }
                Operator::Block { blockty } | Operator::If { blockty } => {
                    open.push(false);
                    block_values = block_values.max(self.block_values(blockty));
                    1
                }
                Operator::End => {
                    if open.pop() == Some(true) {
                        loops -= 1;
                    }
                    0
                }
                Operator::Br { .. } | Operator::BrIf { .. } => 1,
                Operator::BrTable { targets } => targets.len() as usize + 1,
                _ => 0,
            };
            meetings = meetings.saturating_add(ways.saturating_mul(1 + loops));
        }
        Ok((meetings, block_values))
    }

    fn block_values(&self, ty: BlockType) -> usize {
        match ty {
            BlockType::Empty => 0,
            BlockType::Type(_) => 1,
            BlockType::FuncType(ty) => self.values_of(ty).unwrap_or(0),
        }
    }
}

fn locals(body: &FunctionBody<'_>) -> Result<usize, LoadError> {
    let mut locals = 0_usize;
    for group in body.get_locals_reader().map_err(|error| invalid(&error))? {
        let (count, _) = group.map_err(|error| invalid(&error))?;
        locals = locals.saturating_add(count as usize);
        limit("locals in one function", locals, FUNCTION_LOCALS_MAX)?;
    }
    Ok(locals)
}
