// Scratch memory of the engine's calls, one struct a way to compute; the pools of engine.hpp keep them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "arena.hpp"
#include "engine.hpp"
#include "tables.hpp"

namespace mlrf {

// Columns are filled 16 at a time, so up to 15 beyond the last are written.
inline constexpr std::size_t kColumnRoom = 16;

// Most rows whose inputs are looked up together before the trees see them, and most memory for these inputs.
inline constexpr std::size_t kInputRows = kLookupRows;
inline constexpr std::size_t kInputBytes = std::size_t{1} << 20;

// Number of rows that are looked up together.
inline std::size_t input_block_rows(std::size_t values_a_row) {
    return std::max<std::size_t>(1, std::min(kInputRows, kInputBytes / (values_a_row * sizeof(double))));
}

// Number of blocks that are swept together: their columns must stay near.
inline std::size_t sweep_blocks_together(const Forest& f) {
    constexpr std::size_t kMostBlocks = 4, kNearBytes = std::size_t{16} << 10;
    return std::max<std::size_t>(1, std::min(kMostBlocks, kNearBytes / (f.n_sweep_columns * kSweepBytes)));
}

inline std::size_t column_bytes(const Forest& f) { return f.is_wide ? 4 : 2; }

struct Engine::RowScratch {
    explicit RowScratch(const Forest& f)
        : columns((f.n_columns + kColumnRoom) * column_bytes(f)),
          leaf_of_tree(f.n_trees),
          inputs(f.tables.count > 0 ? f.n_inputs : 0),
          lookup(f) {}

    Arena<unsigned char> columns;
    Arena<double> leaf_of_tree;
    Arena<double> inputs;
    LookupScratch lookup;
};

struct Engine::PackedRowsScratch {
    PackedRowsScratch(const Forest& f, const PackedTrees& trees)
        : bytes(kMostPackedRows * kMostByteColumns),
          masks(kMostPackedRows * trees.n_blocks),
          leaf_of_tree(f.n_trees),
          view{bytes.data(), masks.data(), leaf_of_tree.data()} {}

    Arena<unsigned char> bytes;
    Arena<std::uint64_t> masks;
    Arena<double> leaf_of_tree;
    PackedScratch view;
};

// Inputs of a block of rows.
struct Engine::InputScratch {
    explicit InputScratch(const Forest& f) : block_rows(input_block_rows(f.n_inputs)), inputs(block_rows * f.n_inputs), lookup(f) {}

    std::size_t block_rows;
    Arena<double> inputs;
    LookupScratch lookup;
};

struct Engine::WalkedBlockScratch {
    WalkedBlockScratch(const Forest& f, std::size_t block_rows, const std::uint32_t* depth_of_tree)
        : columns(block_rows * f.n_columns * column_bytes(f)), view{columns.data(), depth_of_tree} {}

    Arena<unsigned char> columns;
    WalkScratch view;
};

struct Engine::LookedUpRowScratch {
    LookedUpRowScratch(const Forest& f, const RankedTables& tables)
        : hashes(f.hashed_features.count),
          codes(f.hashed_features.count),
          terms(f.hashed_features.count + tables.n_conditions),
          parts(f.hashed_features.count),
          has_hash(f.hashed_features.count),
          is_unlisted(1),
          flags(tables.n_conditions),
          given(f.n_columns + kColumnRoom),
          columns(f.n_columns),
          leaf_of_tree(f.n_trees),
          view{KeyScratch{hashes.data(), codes.data(), parts.data(), has_hash.data(), is_unlisted.data(), flags.data()}, terms.data(),
               given.data(), columns.data(), leaf_of_tree.data()} {}

    Arena<std::uint32_t> hashes, codes, terms;
    Arena<std::uint64_t> parts;
    Arena<unsigned char> has_hash, is_unlisted;
    Arena<std::int8_t> flags;
    Arena<std::uint16_t> given;
    Arena<std::int16_t> columns;
    Arena<double> leaf_of_tree;
    TableRowScratch view;
};

struct Engine::BlockScratch {
    BlockScratch(const Forest& f, std::size_t block_rows, const SymmetricTrees& symmetric, std::size_t n_conditions, bool has_tables)
        : n_blocks(sweep_blocks_together(f)),
          most_blocks(has_tables ? kTableBlocks : n_blocks),
          columns(most_blocks * f.n_sweep_columns * kSweepBytes),
          slots(2 * std::size_t{f.max_leaves} * kSweepBytes),
          code_rows((block_rows + 1) * kSweepBytes),
          code_slots(f.category_codes.count),
          has_hash(most_blocks * f.hashed_features.count * kSweepBytes),
          is_unlisted(most_blocks * kSweepBytes),
          sums(n_blocks * f.n_outputs * block_rows),
          hashes(most_blocks * f.hashed_features.count * kSweepBytes),
          codes(most_blocks * f.hashed_features.count * kSweepBytes),
          parts(most_blocks * f.hashed_features.count * kSweepBytes),
          flags(most_blocks * n_conditions * kSweepBytes),
          view{n_blocks, columns.data(), slots.data(), code_rows.data(), code_slots.data(), sums.data(), symmetric,
               KeyScratch{hashes.data(), codes.data(), parts.data(), has_hash.data(), is_unlisted.data(), flags.data()}} {}

    std::size_t n_blocks, most_blocks;
    Arena<unsigned char> columns, slots, code_rows, code_slots, has_hash, is_unlisted;
    Arena<double> sums;
    Arena<std::uint32_t> hashes, codes;
    Arena<std::uint64_t> parts;
    Arena<std::int8_t> flags;
    SweepScratch view;
};

}  // namespace mlrf
