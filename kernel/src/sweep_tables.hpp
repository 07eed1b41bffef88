// Looks up the tables of a block of rows and writes what a sweep compares, the ranks of the values found, column by column.
//
// 1. Each category is hashed, and each condition tested, once for all tables whose keys contain it.
// 2. A table's keys are hashed for all rows in vectors, then searched for without a branch: the rows whose first slot has another
//    key are collected and go on to their next slot together. (Searched row by row, one key in three cost a misprediction.)
// 3. Several blocks go through a table before the next one, so that its slots stay near; the slots of the next block are
//    prefetched while one is searched for.
// 4. What is found are lanes, ranked when the forest was opened, so that no value is searched among thresholds.
// 5. Tables with few combinations of codes and conditions have a cell for each, which is not searched for. Only rows with a hash that
//    is not that of a listed code need a search: one by one, or all rows, if they are many.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "key_terms.hpp"
#include "scratch.hpp"
#include "sweep_lanes.hpp"
#include "table_keys.hpp"

namespace mlrf::MLRF_LEVEL {

// Slots of a table that stays in the nearest cache while blocks are looked up.
constexpr std::uint32_t kNearSlotBits = 10;

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
    return KeyScratch{first.hashes + features, first.codes + features, first.parts + features, first.has_hash + features,
                      first.is_unlisted + block * kSweepBytes, first.flags + block * tables.n_conditions * kSweepBytes};
}

// Search the first n of tables.searched for the keys of n_rows rows of several blocks, and fill their columns.
template <typename Lane>
void search_tables(const Forest& f, const RankedTables& tables, std::size_t n, std::size_t n_rows, const KeyScratch& scratch,
                   Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const std::size_t n_blocks = (n_rows + kRows - 1) / kRows;
    const auto rows_of = [&](std::size_t block) { return block + 1 < n_blocks ? kRows : n_rows - block * kRows; };
    BlockKeys<Lane> started[2];
    const std::size_t n_steps = n * n_blocks;
    const auto start = [&](std::size_t step) {
        const std::size_t b = step % n_blocks;
        start_search(f, tables, tables.searched[step / n_blocks], rows_of(b), key_scratch_of(f, tables, scratch, b), started[step % 2]);
    };
    if (n_steps > 0) start(0);
    for (std::size_t step = 0; step < n_steps; ++step) {
        if (step + 1 < n_steps) start(step + 1);
        const std::size_t b = step % n_blocks, rows = rows_of(b);
        const RankedTable& ranked = tables.tables[tables.searched[step / n_blocks]];
        BlockKeys<Lane>& block = started[step % 2];
        find_slots<Lane>(tables, ranked, block, rows);
        for (std::size_t c = 0; c < ranked.n_columns; ++c) {
            const Lane* lanes = static_cast<const Lane*>(tables.lanes) + ranked.first_lane + c;
            Lane* out = columns + (b * f.n_columns + tables.columns[ranked.first_column + c]) * kRows;
            for (std::size_t row = 0; row < rows; ++row) out[row] = lanes[std::size_t{block.at[row]} * ranked.n_columns];
        }
    }
}

// Fill the columns of the tables with cells for a block of rows whose categories are listed.
template <typename Lane>
void read_cells(const Forest& f, const RankedTables& tables, std::size_t n_rows, const KeyScratch& scratch, Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const DirectPart* part = tables.parts;
    const std::uint32_t* column = tables.direct_columns;
    std::uint32_t at[kRows] __attribute__((aligned(64)));
    for (std::size_t t = 0; t < tables.n_direct; ++t) {
        const DirectTable& table = tables.direct[t];
        for (std::size_t row = 0; row < kRows; ++row) at[row] = 0;
        for (const DirectPart* const end = part + table.n_parts; part != end; ++part) {
            const std::uint32_t stride = part->stride;
            if (part->term < f.hashed_features.count) {
                const std::uint32_t* codes = scratch.codes + std::size_t{part->term} * kSweepBytes;
                for (std::size_t row = 0; row < kRows; ++row) at[row] += codes[row] * stride;
            } else {
                const std::int8_t* flags = scratch.flags + (part->term - f.hashed_features.count) * kSweepBytes;
                for (std::size_t row = 0; row < kRows; ++row) at[row] += static_cast<std::uint32_t>(std::int32_t{flags[row]}) & stride;
            }
        }
        const Lane* cells = static_cast<const Lane*>(tables.cells) + table.first_lane;
        for (std::size_t c = 0; c < table.n_columns; ++c) {
            Lane* out = columns + std::size_t{*column++} * kRows;
            for (std::size_t row = 0; row < n_rows; ++row) out[row] = cells[at[row] + c];
        }
    }
}

// The slot of a key, as of find_slots.
inline std::size_t find_slot(const RankedTables& tables, const RankedTable& table, std::uint64_t key) {
    const std::uint64_t* slots = tables.keys + table.first_slot;
    const std::uint64_t mask = (std::uint64_t{1} << table.slot_bits) - 1;
    std::uint64_t at = key_slot(key, table.slot_bits);
    while (slots[at] != key && slots[at] != table.free_key) at = (at + 1) & mask;
    return at;
}

// Search tables.searched from `first` to `end` for the keys of one row, whose terms are kStride apart: write(column, lane).
template <std::size_t kStride, typename Lane, typename Write>
void search_row(const Forest& f, const RankedTables& tables, std::size_t first, std::size_t end, const KeyScratch& scratch,
                const Write& write) {
    constexpr std::size_t kTables = 16;  // tables whose slots are loaded side by side
    for (; first < end; first += kTables) {
        const std::size_t n = end - first < kTables ? end - first : kTables;
        std::uint64_t keys[kTables];
        bool has_key[kTables];
        for (std::size_t i = 0; i < n; ++i) {
            const std::uint32_t t = tables.searched[first + i];
            const TableRecord& table = f.tables[t];
            keys[i] = 0;
            has_key[i] = true;
            for (std::size_t p = table.first_part; p < table.first_part + table.n_parts; ++p) {
                const std::size_t term = std::size_t{tables.operands[p]} * kStride;
                const bool is_category = f.key_parts[p].kind == kCategory;
                const std::uint64_t value = is_category
                                                ? scratch.parts[term]
                                                : static_cast<std::uint64_t>(std::int64_t{scratch.flags[term]}) & kMultiplier;
                keys[i] = kMultiplier * (keys[i] + value);
                has_key[i] &= !is_category || scratch.has_hash[term] != 0;
            }
            const RankedTable& ranked = tables.tables[t];
            __builtin_prefetch(tables.keys + ranked.first_slot + key_slot(keys[i], ranked.slot_bits));
        }
        for (std::size_t i = 0; i < n; ++i) {
            const RankedTable& ranked = tables.tables[tables.searched[first + i]];
            const std::size_t at = has_key[i] ? find_slot(tables, ranked, keys[i]) : std::size_t{1} << ranked.slot_bits;
            const Lane* lanes = static_cast<const Lane*>(tables.lanes) + ranked.first_lane + at * ranked.n_columns;
            for (std::size_t c = 0; c < ranked.n_columns; ++c) write(tables.columns[ranked.first_column + c], lanes[c]);
        }
    }
}

// From this share of rows on whose categories are not all listed, all keys are searched for.
constexpr std::size_t kSearchedShare = 4;

// Fill the columns of all tables from n_rows rows of several blocks as they are given, values[row][n_features]:
// columns[block][n_columns][kSweepRows].
template <typename Lane, typename Value>
void fill_table_columns(const Forest& f, const RankedTables& tables, const Value* values, std::size_t n_rows,
                        const KeyScratch& scratch, Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const auto each_block = [&](const auto& work) {
        for (std::size_t b = 0; b * kRows < n_rows; ++b)
            work(n_rows - b * kRows < kRows ? n_rows - b * kRows : kRows, values + b * kRows * f.n_features,
                 key_scratch_of(f, tables, scratch, b), columns + b * f.n_columns * kRows);
    };
    std::size_t n_unlisted = 0;
    each_block([&](std::size_t n, const Value* rows, const KeyScratch& own, Lane*) {
        hash_categories<kSweepBytes>(f, rows, n, own);
        for (std::size_t i = 0; i < n; ++i) n_unlisted += own.is_unlisted[i];
    });
    const bool is_searched = n_unlisted * kSearchedShare >= n_rows;
    each_block([&](std::size_t n, const Value* rows, const KeyScratch& own, Lane* out) {
        test_conditions<kSweepBytes>(f, tables, rows, n, own);
        if (is_searched) return;
        read_cells(f, tables, n, own, out);
        for (std::size_t i = 0; n_unlisted > 0 && i < n; ++i) {
            if (own.is_unlisted[i] == 0) continue;
            const KeyScratch alone{own.hashes + i, own.codes + i, own.parts + i, own.has_hash + i, own.is_unlisted + i, own.flags + i};
            search_row<kSweepBytes, Lane>(f, tables, tables.n_without_cells, tables.n_searched, alone,
                                          [&](std::size_t column, Lane lane) { out[column * kRows + i] = lane; });
        }
    });
    search_tables(f, tables, is_searched ? tables.n_searched : tables.n_without_cells, n_rows, scratch, columns);
}

}  // namespace mlrf::MLRF_LEVEL
