// What the keys of look-up tables are made of: each category is hashed, and each condition tested, once for all tables.
//
// For kRows rows, a block or one, of which there are n_rows. Each array of the scratch has kRows numbers a category or condition.
#pragma once

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "scratch.hpp"
#include "table_keys.hpp"

namespace mlrf::MLRF_LEVEL {

// Rows of `values` are f.n_features apart.
template <std::size_t kRows, typename Value>
void hash_categories(const Forest& f, const Value* values, std::size_t n_rows, const KeyScratch& scratch) {
    for (std::size_t row = 0; row < n_rows; ++row) scratch.is_unlisted[row] = 0;
    for (std::size_t h = 0; h < f.hashed_features.count; ++h) {
        const HashedFeature& feature = f.hashed_features[h];
        std::uint32_t* hashes = scratch.hashes + h * kRows;
        std::uint32_t* codes = scratch.codes + h * kRows;
        std::uint64_t* parts = scratch.parts + h * kRows;
        unsigned char* has_hash = scratch.has_hash + h * kRows;
        for (std::size_t row = 0; row < n_rows; ++row) {
            std::uint32_t hash = 0;
            const double code = static_cast<double>(values[row * f.n_features + feature.feature]);
            const bool is_listed = find_listed(feature, code, codes[row]);
            has_hash[row] = find_hash(f, feature, code, hash);
            hashes[row] = hash;
            scratch.is_unlisted[row] |= static_cast<unsigned char>((has_hash[row] != 0) & !is_listed);
        }
        for (std::size_t row = 0; row < n_rows; ++row) parts[row] = kMultiplier * category_part(hashes[row]);
    }
}

// Flags are -1 where a condition holds, else 0. Conditions are in the order of their sources.
template <std::size_t kRows, typename Value>
void test_conditions(const Forest& f, const RankedTables& tables, const Value* values, std::size_t n_rows, const KeyScratch& scratch) {
    double column[kRows] = {};
    const KeyPart* last = nullptr;
    for (std::size_t i = 0; i < tables.n_conditions; ++i) {
        const KeyPart part = tables.conditions[i];
        std::int8_t* flags = scratch.flags + i * kRows;
        if (part.kind == kAbove) {
            if (last == nullptr || last->source != part.source)
                for (std::size_t row = 0; row < n_rows; ++row)
                    column[row] = static_cast<double>(values[row * f.n_features + part.source]);
            last = tables.conditions + i;
            for (std::size_t row = 0; row < kRows; ++row) flags[row] = static_cast<std::int8_t>(-is_above(part, column[row]));
            continue;
        }
        const std::uint32_t* hashes = scratch.hashes + std::size_t{part.source} * kRows;
        const unsigned char* has_hash = scratch.has_hash + std::size_t{part.source} * kRows;
        for (std::size_t row = 0; row < n_rows; ++row)
            flags[row] = static_cast<std::int8_t>(-((hashes[row] == part.hash) & (has_hash[row] != 0)));
    }
}

}  // namespace mlrf::MLRF_LEVEL
