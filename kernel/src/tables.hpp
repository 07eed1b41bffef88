// Values that are looked up before the trees see a row: CatBoost's CTR features.
//
// A table's key is a hash of 64 bits over parts of the row: categories by their own hash, and whether numbers are above borders or
// categories are certain ones. Each table is looked up once a row and gives all of its columns. A look-up is a chain of two loads
// that miss the cache, and branches on what they bring; so all keys are hashed first, then the memory of all is asked for, then read.
#pragma once

#include "arena.hpp"
#include "forest.hpp"

namespace mlrf {

// Rows that are looked up together, table by table: a table's slots are then near for every row but the first.
constexpr std::size_t kLookupRows = 128;

// For one thread's use.
struct LookupScratch {
    explicit LookupScratch(const Forest& f);

    Arena<std::uint64_t> keys;       // [tables] of a row alone, [rows] of a table
    Arena<std::uint32_t> entries;    // likewise
    Arena<unsigned char> has_key;    // likewise
    Arena<std::uint32_t> hashes;     // [hashed features][rows]
    Arena<unsigned char> has_hash;   // likewise
};

// Write the inputs of n <= kLookupRows rows, inputs[row][n_inputs]: their F values as they are given, then those of each table.
void fill_inputs(const Forest& f, const void* values, bool is_float32, std::size_t n_rows, const LookupScratch& scratch,
                 double* inputs);

// Make contributions of features [F][K] of those of inputs and groups [n_inputs][K]: the features of a group share equally.
void share_groups(const Forest& f, const double* of_groups, double* contributions);

}  // namespace mlrf
