// Looks up the tables of a block of rows and writes what a sweep compares, the ranks of the values found, column by column.
//
// 1. Each category is hashed, and each condition tested, once for all tables whose keys contain it.
// 2. A table's keys are hashed for all rows in vectors, then searched for without a branch: the rows whose first slot has another
//    key are collected and go on to their next slot together. (Searched row by row, one key in three cost a misprediction.)
// 3. What is found are lanes, ranked when the forest was opened, so that no value is searched among thresholds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "scratch.hpp"
#include "sweep_lanes.hpp"
#include "table_keys.hpp"

namespace mlrf::MLRF_LEVEL {

// Slots of a table that stays in the nearest cache while a block is looked up.
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

// Find the entry of each row's key; a key that is not in the table has the entry n_entries.
template <typename Lane>
void find_entries(const Forest& f, const TableRecord& table, const std::uint64_t* keys, const unsigned char* has_key,
                  std::size_t n_rows, std::uint32_t* entries) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const TableSlot* slots = f.table_slots.data + table.first_slot;
    const std::uint32_t mask = (std::uint32_t{1} << table.slot_bits) - 1;
    std::uint32_t at[kRows], searched[kRows];
    for (std::size_t row = 0; row < n_rows; ++row) at[row] = static_cast<std::uint32_t>(key_slot(keys[row], table.slot_bits));
    if (table.slot_bits > kNearSlotBits)
        for (std::size_t row = 0; row < n_rows; ++row) __builtin_prefetch(slots + at[row]);
    std::size_t n_searched = 0;
    for (std::size_t row = 0; row < n_rows; ++row) {
        const TableSlot& slot = slots[at[row]];
        const bool is_searched = (slot.is_used != 0) & (has_key[row] != 0), is_found = is_searched & (slot.key == keys[row]);
        entries[row] = choose(is_found, slot.entry, table.n_entries);
        searched[n_searched] = static_cast<std::uint32_t>(row);
        n_searched += is_searched & !is_found;
    }
    // At least one slot is free: check_forest has made sure of that.
    while (n_searched > 0) {
        std::size_t n_left = 0;
        for (std::size_t i = 0; i < n_searched; ++i) {
            const std::uint32_t row = searched[i];
            at[row] = (at[row] + 1) & mask;
            const TableSlot& slot = slots[at[row]];
            const bool is_used = slot.is_used != 0, is_found = is_used & (slot.key == keys[row]);
            entries[row] = choose(is_found, slot.entry, table.n_entries);
            searched[n_left] = row;
            n_left += is_used & !is_found;
        }
        n_searched = n_left;
    }
}

// Fill the columns of all tables from n_rows rows as they are given, values[row][n_features].
template <typename Lane, typename Value>
void fill_table_columns(const Forest& f, const RankedTables& tables, const Value* values, std::size_t n_rows,
                        const KeyScratch& scratch, Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    std::uint64_t keys[kRows] __attribute__((aligned(64)));
    unsigned char has_key[kRows] __attribute__((aligned(64)));
    std::uint32_t entries[kRows];
    hash_categories(f, values, n_rows, scratch);
    test_conditions<Lane>(f, tables, values, n_rows, scratch);
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        const RankedTable& ranked = tables.tables[t];
        if (ranked.n_columns == 0) continue;
        hash_table_keys<Lane>(f, tables, f.tables[t], scratch, keys, has_key);
        find_entries<Lane>(f, f.tables[t], keys, has_key, n_rows, entries);
        for (std::size_t c = 0; c < ranked.n_columns; ++c) {
            const Lane* lanes = static_cast<const Lane*>(tables.lanes) + ranked.first_lane + c;
            Lane* out = columns + tables.columns[ranked.first_column + c] * kRows;
            for (std::size_t row = 0; row < n_rows; ++row) out[row] = lanes[std::size_t{entries[row]} * ranked.n_columns];
        }
    }
}

}  // namespace mlrf::MLRF_LEVEL
