//! The memory that a plugin and the host share: blocks, each by the offset of its first byte.
//!
//! A plugin sees them through functions alone, so they need not lie in one piece, as in Extism's own kernel: each is an
//! allocation of ours, paid from the call's budget, and offsets are never used twice. What is outside of a block reads
//! as 0 and takes no writes; there, the kernel shows its own bookkeeping.

use crate::sandbox::limits::{ARENA_BLOCK_BYTES, ARENA_BLOCKS_MAX};
use crate::sandbox::state::MemoryBudget;
use std::collections::BTreeMap;

/// The blocks of one call.
pub(super) struct Arena {
    blocks: BTreeMap<u64, Box<[u8]>>,
    /// What they hold together, in bytes.
    size: u64,
    /// Where the next block begins. 0 stands for none.
    next: u64,
    input: Range,
    output: Range,
    /// The block that says what went wrong; 0 for none.
    error: u64,
}

/// Some bytes, by where they begin.
#[derive(Clone, Copy, Default)]
struct Range {
    start: u64,
    length: u64,
}

/// Blocks begin at multiples of this, and as much lies between them: what runs over one is in none.
const GAP: u64 = 16;

impl Default for Arena {
    fn default() -> Self {
        Self {
            blocks: BTreeMap::new(),
            size: 0,
            next: GAP,
            input: Range::default(),
            output: Range::default(),
            error: 0,
        }
    }
}

impl Arena {
    /// A block of this length; 0 where it is none, or more than the call may have.
    pub(super) fn alloc(&mut self, length: u64, budget: &mut MemoryBudget) -> u64 {
        match usize::try_from(length) {
            Ok(0) => 0,
            Ok(length) if self.pay(length, budget) => self.add(vec![0; length].into_boxed_slice()),
            Ok(_) | Err(_) => 0,
        }
    }

    /// A block with these bytes; none where there is no room for it.
    pub(super) fn put(&mut self, bytes: &[u8], budget: &mut MemoryBudget) -> Option<u64> {
        if bytes.is_empty() {
            return Some(0);
        }
        self.pay(bytes.len(), budget).then(|| self.add(bytes.into()))
    }

    /// Whether there is room for one more block, of this length.
    fn pay(&self, length: usize, budget: &mut MemoryBudget) -> bool {
        if self.blocks.len() >= ARENA_BLOCKS_MAX {
            budget.refuse();
            return false;
        }
        budget.take(cost(length))
    }

    fn add(&mut self, block: Box<[u8]>) -> u64 {
        let start = self.next;
        self.next = start.saturating_add(block.len() as u64).next_multiple_of(GAP).saturating_add(GAP);
        self.size += block.len() as u64;
        self.blocks.insert(start, block);
        start
    }

    /// Gives a block back; but what the plugin has called its output or its error stays.
    pub(super) fn free(&mut self, start: u64, budget: &mut MemoryBudget) {
        if !self.is_kept(start) {
            self.remove(start, budget);
        }
    }

    /// Takes a block from the plugin.
    pub(super) fn take(&mut self, start: u64, budget: &mut MemoryBudget) -> Option<Box<[u8]>> {
        if self.is_kept(start) { self.blocks.get(&start).cloned() } else { self.remove(start, budget) }
    }

    fn remove(&mut self, start: u64, budget: &mut MemoryBudget) -> Option<Box<[u8]>> {
        let block = self.blocks.remove(&start)?;
        budget.give(cost(block.len()));
        self.size -= block.len() as u64;
        if start == self.input.start {
            self.input.length = 0;
        }
        Some(block)
    }

    fn is_kept(&self, start: u64) -> bool {
        let length = self.length(start);
        start == self.error || self.output.start.checked_sub(start).is_some_and(|from| from < length)
    }

    /// The length of the block that begins here; 0 where none does.
    pub(super) fn length(&self, start: u64) -> u64 {
        self.blocks.get(&start).map_or(0, |block| block.len() as u64)
    }

    pub(super) fn load<const N: usize>(&self, at: u64) -> [u8; N] {
        self.bytes(at, N as u64).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    pub(super) fn store<const N: usize>(&mut self, at: u64, bytes: [u8; N]) {
        let Some((start, block)) = self.blocks.range_mut(..=at).next_back() else { return };
        let from = usize::try_from(at - start).ok();
        let place = from.and_then(|from| block.get_mut(from..from.checked_add(N)?));
        if let Some(place) = place {
            place.copy_from_slice(&bytes);
        }
    }

    /// These bytes, where they lie within one block.
    fn bytes(&self, at: u64, length: u64) -> Option<&[u8]> {
        let (start, block) = self.blocks.range(..=at).next_back()?;
        let from = usize::try_from(at - start).ok()?;
        block.get(from..from.checked_add(usize::try_from(length).ok()?)?)
    }

    /// The call's input.
    pub(super) fn set_input(&mut self, start: u64, length: u64) {
        if self.bytes(start, length).is_some() {
            self.input = Range { start, length };
        }
    }

    pub(super) fn input_start(&self) -> u64 {
        self.input.start
    }

    pub(super) fn input_length(&self) -> u64 {
        self.input.length
    }

    pub(super) fn load_input<const N: usize>(&self, offset: u64) -> [u8; N] {
        match offset.checked_add(N as u64) {
            Some(end) if end <= self.input.length => self.load(self.input.start.saturating_add(offset)),
            _ => [0; N],
        }
    }

    /// What the plugin answers with, until it says otherwise.
    pub(super) fn set_output(&mut self, start: u64, length: u64) {
        if length == 0 {
            self.output = Range::default();
        } else if self.bytes(start, length).is_some() {
            self.output = Range { start, length };
        }
    }

    pub(super) fn output_range(&self) -> (u64, u64) {
        (self.output.start, self.output.length)
    }

    pub(super) fn output(&self) -> &[u8] {
        self.bytes(self.output.start, self.output.length).unwrap_or_default()
    }

    /// The block with what went wrong; 0 for nothing did.
    pub(super) fn set_error(&mut self, start: u64) {
        if start == 0 || self.blocks.contains_key(&start) {
            self.error = start;
        }
    }

    pub(super) fn error_start(&self) -> u64 {
        self.error
    }

    pub(super) fn error(&self) -> Option<&[u8]> {
        self.blocks.get(&self.error).map(|block| &**block)
    }

    /// Gives everything back.
    pub(super) fn reset(&mut self, budget: &mut MemoryBudget) {
        budget.give(self.blocks.values().map(|block| cost(block.len())).sum());
        // Offsets go on: what the plugin still holds leads nowhere.
        *self = Self { next: self.next, ..Self::default() };
    }

    /// What the blocks hold together, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

fn cost(length: usize) -> usize {
    length.saturating_add(ARENA_BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> (Arena, MemoryBudget) {
        (Arena::default(), MemoryBudget::new(1 << 20))
    }

    #[test]
    fn what_is_stored_is_loaded_and_nothing_is_outside_of_a_block() {
        let (mut arena, mut budget) = arena();
        let (one, other) = (arena.alloc(9, &mut budget), arena.alloc(8, &mut budget));
        arena.store(one, 0x0102_0304_0506_0708_u64.to_le_bytes());
        arena.store(one + 8, [9]);
        assert_eq!(u64::from_le_bytes(arena.load(one)), 0x0102_0304_0506_0708);
        assert_eq!(arena.load(one + 7), [1, 9]);
        for outside in [0, 1, one - 1, one + 9, other + 8, u64::MAX, u64::MAX - 3] {
            arena.store(outside, [7_u8; 8]);
            assert_eq!(arena.load(outside), [0_u8; 8], "{outside}");
        }
        arena.store(one + 2, [7_u8; 8]);
        assert_eq!(arena.load(one + 2), [0_u8; 8], "half in it is not in it");
        assert_eq!(arena.load(other), [0_u8; 8], "the neighbour is as it was");
    }

    #[test]
    fn blocks_are_paid_for_and_given_back() {
        let (mut arena, mut budget) = arena();
        assert_eq!(arena.alloc(0, &mut budget), 0);
        for _ in 0..10_000 {
            let block = arena.alloc(100_000, &mut budget);
            assert!(block != 0, "what was given back can be had again");
            arena.free(block, &mut budget);
            arena.free(block, &mut budget);
            assert_eq!(arena.length(block), 0);
        }
        assert!(!budget.was_refused());
        assert_eq!(arena.alloc(1 << 20, &mut budget), 0, "with its own cost that is more than there is");
        assert_eq!(arena.alloc(u64::MAX, &mut budget), 0);
        assert!(budget.was_refused());
        let small = std::iter::repeat_with(|| arena.alloc(1, &mut budget)).take_while(|&block| block != 0);
        assert!(small.count() <= (1 << 20) / ARENA_BLOCK_BYTES, "many small ones have an end too");
        assert!(arena.size() > 0);
        arena.reset(&mut budget);
        assert_eq!(arena.size(), 0);
        assert!(arena.alloc((1 << 20) - ARENA_BLOCK_BYTES as u64, &mut budget) != 0);
    }

    #[test]
    fn there_are_so_many_blocks_and_no_more_however_much_memory_there_is() {
        let (mut arena, mut budget) = (Arena::default(), MemoryBudget::new(usize::MAX));
        let blocks = std::iter::repeat_with(|| arena.alloc(1, &mut budget)).take_while(|&block| block != 0);
        assert_eq!(blocks.count(), ARENA_BLOCKS_MAX);
        assert!(budget.was_refused());
    }

    #[test]
    fn what_was_called_output_or_error_outlives_being_freed() {
        let (mut arena, mut budget) = arena();
        let block = arena.put(b"hello", &mut budget).unwrap();
        arena.set_output(block + 1, 3);
        arena.free(block, &mut budget);
        assert_eq!(arena.output(), b"ell");
        arena.set_output(block, 6);
        assert_eq!(arena.output(), b"ell", "more than there is is not taken");
        arena.set_output(0, 0);
        assert!(arena.output().is_empty());
        let error = arena.put(b"no", &mut budget).unwrap();
        arena.set_error(error);
        arena.set_error(error + 1);
        assert_eq!(arena.take(error, &mut budget).as_deref(), Some(&b"no"[..]));
        assert_eq!(arena.error(), Some(&b"no"[..]));
        arena.set_error(0);
        assert_eq!(arena.error(), None);
    }

    #[test]
    fn input_is_read_within_its_length() {
        let (mut arena, mut budget) = arena();
        let block = arena.put(b"0123456789", &mut budget).unwrap();
        arena.set_input(block, 10);
        assert_eq!(&arena.load_input::<8>(2), b"23456789");
        for beyond in [3, 10, u64::MAX] {
            assert_eq!(arena.load_input::<8>(beyond), [0; 8], "{beyond}");
        }
        arena.set_input(block, 11);
        assert_eq!(arena.input_length(), 10);
        arena.free(block, &mut budget);
        assert_eq!(arena.input_length(), 0, "as in Extism");
    }
}
