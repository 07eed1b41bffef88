// Values that are looked up before the trees are evaluated: CatBoost's CTR features.
//
// A table's key is a hash of 64 bits over parts of the row: categories by their own hash, and whether numbers are above borders
// or categories have certain values. Each table is looked up once per row and gives all of its columns. A look-up is a chain of
// two loads that miss the cache, and a branch on the loaded value; so all keys are hashed first, then all slots are prefetched,
// then read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "arena.hpp"
#include "forest.hpp"

namespace mlrf {

// Rows that are looked up together, table by table: a table's slots are then cached for every row but the first.
constexpr std::size_t kLookupRows = 128;

// For use by one thread.
struct LookupScratch {
    explicit LookupScratch(const Forest& f);

    Arena<std::uint64_t> keys;       // [tables] of a row alone, [rows] of a table
    Arena<std::uint32_t> entries;    // likewise
    Arena<unsigned char> has_key;    // likewise
    Arena<std::uint32_t> hashes;     // [hashed features][rows]
    Arena<unsigned char> has_hash;   // likewise
    // Of a row alone: the distinct parts of all keys, which of them each part is, and what they add to a key.
    std::vector<KeyPart> distinct_parts;
    std::vector<std::uint32_t> number_of_part;
    Arena<std::uint64_t> terms;      // [distinct_parts]
    Arena<unsigned char> has_term;   // likewise

private:
    void number_parts(const Forest& f);
};

// Write the inputs of n <= kLookupRows rows, inputs[row][n_inputs]: their F values as given, then those of each table.
void fill_inputs(const Forest& f, const void* values, bool is_float32, std::size_t n_rows, const LookupScratch& scratch,
                 double* inputs);

}  // namespace mlrf
