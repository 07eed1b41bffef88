// Looks up the tables of a block of rows and writes what a sweep compares, the ranks of the values found, column by column.
//
// 1. Each category is hashed, and each condition tested, once for all tables whose keys contain it.
// 2. A table's keys are hashed for all rows in vectors, then searched for without a branch: the rows whose first slot has another
//    key are collected and go on to their next slot together. (Searched row by row, one key in three cost a misprediction.)
// 3. Several blocks go through a table before the next one, so that its slots stay near; the slots of the next block are
//    prefetched while one is searched for.
// 4. What is found are lanes, ranked when the forest was opened, so that no value is searched among thresholds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "scratch.hpp"
#include "sweep_lanes.hpp"
#include "table_keys.hpp"

namespace mlrf::MLRF_LEVEL {

// Slots of a table that stays in the nearest cache while blocks are looked up.
constexpr std::uint32_t kNearSlotBits = 10;

template <typename Value>
void hash_categories(const Forest& f, const Value* values, std::size_t n_rows, const KeyScratch& scratch) {
    for (std::size_t h = 0; h < f.hashed_features.count; ++h) {
        const HashedFeature& feature = f.hashed_features[h];
        std::uint32_t* hashes = scratch.hashes + h * kSweepBytes;
        std::uint64_t* parts = scratch.parts + h * kSweepBytes;
        unsigned char* has_hash = scratch.has_hash + h * kSweepBytes;
        for (std::size_t row = 0; row < n_rows; ++row) {
            std::uint32_t hash = 0;
            has_hash[row] = find_hash(f, feature, static_cast<double>(values[row * f.n_features + feature.feature]), hash);
            hashes[row] = hash;
        }
        for (std::size_t row = 0; row < n_rows; ++row) parts[row] = kMultiplier * category_part(hashes[row]);
    }
}

// Flags are -1 where a condition holds, else 0. Conditions are in the order of their sources.
template <typename Lane, typename Value>
void test_conditions(const Forest& f, const RankedTables& tables, const Value* values, std::size_t n_rows, const KeyScratch& scratch) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    double column[kRows] = {};
    const KeyPart* last = nullptr;
    for (std::size_t i = 0; i < tables.n_conditions; ++i) {
        const KeyPart part = tables.conditions[i];
        std::int8_t* flags = scratch.flags + i * kSweepBytes;
        if (part.kind == kAbove) {
            if (last == nullptr || last->source != part.source)
                for (std::size_t row = 0; row < n_rows; ++row)
                    column[row] = static_cast<double>(values[row * f.n_features + part.source]);
            last = tables.conditions + i;
            for (std::size_t row = 0; row < kRows; ++row) flags[row] = static_cast<std::int8_t>(-is_above(part, column[row]));
            continue;
        }
        const std::uint32_t* hashes = scratch.hashes + std::size_t{part.source} * kSweepBytes;
        const unsigned char* has_hash = scratch.has_hash + std::size_t{part.source} * kSweepBytes;
        for (std::size_t row = 0; row < n_rows; ++row)
            flags[row] = static_cast<std::int8_t>(-((hashes[row] == part.hash) & (has_hash[row] != 0)));
    }
}

// Hash the keys of a whole block, so that the loops have a fixed length; lanes without a row have some key.
template <typename Lane>
void hash_table_keys(const Forest& f, const RankedTables& tables, const TableRecord& table, const KeyScratch& scratch,
                     std::uint64_t* keys, unsigned char* has_key) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    for (std::size_t row = 0; row < kRows; ++row) keys[row] = 0;
    for (std::size_t row = 0; row < kRows; ++row) has_key[row] = 1;
    for (std::size_t p = table.first_part; p < table.first_part + table.n_parts; ++p) {
        const std::size_t first = tables.operands[p] * kSweepBytes;
        if (f.key_parts[p].kind != kCategory) {
            const std::int8_t* flags = scratch.flags + first;
            for (std::size_t row = 0; row < kRows; ++row)
                keys[row] = kMultiplier * (keys[row] + (static_cast<std::uint64_t>(std::int64_t{flags[row]}) & kMultiplier));
            continue;
        }
        const std::uint64_t* parts = scratch.parts + first;
        const unsigned char* has_hash = scratch.has_hash + first;
        for (std::size_t row = 0; row < kRows; ++row) keys[row] = kMultiplier * (keys[row] + parts[row]);
        for (std::size_t row = 0; row < kRows; ++row) has_key[row] = has_key[row] & has_hash[row];
    }
}

// A conditional expression, as which the compiler jumps.
inline std::uint32_t choose(bool is_first, std::uint32_t first, std::uint32_t second) {
    return second ^ ((first ^ second) & -static_cast<std::uint32_t>(is_first));
}

// The keys of a block of rows for one table, and the slots where their search starts, then ends.
template <typename Lane>
struct BlockKeys {
    std::uint64_t keys[kSweepRows<Lane>] __attribute__((aligned(64)));
    unsigned char has_key[kSweepRows<Lane>] __attribute__((aligned(64)));
    std::uint32_t at[kSweepRows<Lane>];
};

template <typename Lane>
void start_search(const Forest& f, const RankedTables& tables, std::size_t t, std::size_t n_rows, const KeyScratch& scratch,
                  BlockKeys<Lane>& block) {
    const RankedTable& table = tables.tables[t];
    hash_table_keys<Lane>(f, tables, f.tables[t], scratch, block.keys, block.has_key);
    for (std::size_t row = 0; row < kSweepRows<Lane>; ++row)
        block.at[row] = static_cast<std::uint32_t>(key_slot(block.keys[row], table.slot_bits));
    if (table.slot_bits <= kNearSlotBits) return;
    const std::uint64_t* slots = tables.keys + table.first_slot;
    for (std::size_t row = 0; row < n_rows; ++row) __builtin_prefetch(slots + block.at[row]);
}

// Find the slot of each row's key; a key that is not in the table has a free slot, and a row without a key the last, 2^slot_bits.
template <typename Lane>
void find_slots(const RankedTables& tables, const RankedTable& table, BlockKeys<Lane>& block, std::size_t n_rows) {
    const std::uint64_t* slots = tables.keys + table.first_slot;
    const std::uint32_t n_slots = std::uint32_t{1} << table.slot_bits;
    std::uint32_t searched[kSweepRows<Lane>];
    std::size_t n_searched = 0;
    for (std::size_t row = 0; row < n_rows; ++row) {
        const std::uint64_t key = slots[block.at[row]];
        const bool has_key = block.has_key[row] != 0;
        searched[n_searched] = static_cast<std::uint32_t>(row);
        n_searched += has_key & (key != block.keys[row]) & (key != table.free_key);
        block.at[row] = choose(has_key, block.at[row], n_slots);
    }
    // At least one slot is free: the tables were made so.
    while (n_searched > 0) {
        std::size_t n_left = 0;
        for (std::size_t i = 0; i < n_searched; ++i) {
            const std::uint32_t row = searched[i];
            block.at[row] = (block.at[row] + 1) & (n_slots - 1);
            const std::uint64_t key = slots[block.at[row]];
            searched[n_left] = row;
            n_left += (key != block.keys[row]) & (key != table.free_key);
        }
        n_searched = n_left;
    }
}

inline KeyScratch key_scratch_of(const Forest& f, const RankedTables& tables, const KeyScratch& first, std::size_t block) {
    const std::size_t features = block * f.hashed_features.count * kSweepBytes;
    return KeyScratch{first.hashes + features, first.parts + features, first.has_hash + features,
                      first.flags + block * tables.n_conditions * kSweepBytes};
}

// Fill the columns of all tables from n_rows rows of several blocks as they are given, values[row][n_features]:
// columns[block][n_columns][kSweepRows].
template <typename Lane, typename Value>
void fill_table_columns(const Forest& f, const RankedTables& tables, const Value* values, std::size_t n_rows,
                        const KeyScratch& scratch, Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const std::size_t n_blocks = (n_rows + kRows - 1) / kRows;
    const auto rows_of = [&](std::size_t block) { return block + 1 < n_blocks ? kRows : n_rows - block * kRows; };
    for (std::size_t b = 0; b < n_blocks; ++b) {
        const KeyScratch own = key_scratch_of(f, tables, scratch, b);
        hash_categories(f, values + b * kRows * f.n_features, rows_of(b), own);
        test_conditions<Lane>(f, tables, values + b * kRows * f.n_features, rows_of(b), own);
    }
    BlockKeys<Lane> started[2];
    const std::size_t n_steps = f.tables.count * n_blocks;
    const auto start = [&](std::size_t step) {
        const std::size_t t = step / n_blocks, b = step % n_blocks;
        if (tables.tables[t].n_columns > 0)
            start_search(f, tables, t, rows_of(b), key_scratch_of(f, tables, scratch, b), started[step % 2]);
    };
    if (n_steps > 0) start(0);
    for (std::size_t step = 0; step < n_steps; ++step) {
        if (step + 1 < n_steps) start(step + 1);
        const std::size_t t = step / n_blocks, b = step % n_blocks, rows = rows_of(b);
        const RankedTable& ranked = tables.tables[t];
        if (ranked.n_columns == 0) continue;
        BlockKeys<Lane>& block = started[step % 2];
        find_slots<Lane>(tables, ranked, block, rows);
        for (std::size_t c = 0; c < ranked.n_columns; ++c) {
            const Lane* lanes = static_cast<const Lane*>(tables.lanes) + ranked.first_lane + c;
            Lane* out = columns + (b * f.n_columns + tables.columns[ranked.first_column + c]) * kRows;
            for (std::size_t row = 0; row < rows; ++row) out[row] = lanes[std::size_t{block.at[row]} * ranked.n_columns];
        }
    }
}

}  // namespace mlrf::MLRF_LEVEL
