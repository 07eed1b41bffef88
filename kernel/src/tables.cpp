#include "tables.hpp"

#include <cstring>
#include <map>

#include "key_conditions.hpp"
#include "table_keys.hpp"

namespace mlrf {
namespace {

std::uint64_t combine(std::uint64_t hash, std::uint64_t part) { return kMultiplier * (hash + kMultiplier * part); }

// Hash the key of a table for n rows: keys and has_key [n].
void hash_keys(const Forest& f, const TableRecord& table, const double* inputs, std::size_t n_rows, const LookupScratch& scratch,
               std::uint64_t* keys, unsigned char* has_key) {
    for (std::size_t row = 0; row < n_rows; ++row) {
        keys[row] = 0;
        has_key[row] = 1;
    }
    for (std::uint32_t p = table.first_part; p < table.first_part + table.n_parts; ++p) {
        const KeyPart part = f.key_parts[p];
        if (part.kind == kAbove) {
            const double* column = inputs + part.source;
            for (std::size_t row = 0; row < n_rows; ++row)
                keys[row] = combine(keys[row], is_above(part, column[row * f.n_inputs]));
            continue;
        }
        const std::uint32_t* hashes = scratch.hashes.data() + std::size_t{part.source} * kLookupRows;
        const unsigned char* has_hash = scratch.has_hash.data() + std::size_t{part.source} * kLookupRows;
        if (part.kind == kEquals) {
            for (std::size_t row = 0; row < n_rows; ++row)
                keys[row] = combine(keys[row], (hashes[row] == part.hash) & (has_hash[row] != 0));
            continue;
        }
        for (std::size_t row = 0; row < n_rows; ++row) {
            keys[row] = combine(keys[row], category_part(hashes[row]));
            has_key[row] = has_key[row] & has_hash[row];
        }
    }
}

const TableSlot* first_slot(const Forest& f, const TableRecord& table, std::uint64_t key) {
    return f.table_slots.data + table.first_slot + key_slot(key, table.slot_bits);
}

std::uint32_t find_entry(const Forest& f, const TableRecord& table, std::uint64_t key, bool has_key) {
    if (!has_key) return table.n_entries;
    const TableSlot* slots = f.table_slots.data + table.first_slot;
    const std::uint64_t mask = (std::uint64_t{1} << table.slot_bits) - 1;
    // At least one slot is free: check_forest has made sure of that.
    for (std::uint64_t at = key_slot(key, table.slot_bits); slots[at].is_used != 0; at = (at + 1) & mask)
        if (slots[at].key == key) return slots[at].entry;
    return table.n_entries;
}

const float* values_of(const Forest& f, const TableRecord& table, std::uint32_t entry) {
    return f.table_values.data + table.first_value + std::size_t{entry} * table.n_columns;
}

void copy_values(const Forest& f, const TableRecord& table, std::uint32_t entry, double* inputs) {
    const float* found = values_of(f, table, entry);
    double* out = inputs + f.n_features + table.first_column;
    for (std::uint32_t c = 0; c < table.n_columns; ++c) out[c] = static_cast<double>(found[c]);
}

// What each distinct part adds to the key of a row. (Part by part of each table, the kinds cost a misprediction in three.)
void evaluate_parts(const LookupScratch& scratch, const double* inputs) {
    std::uint64_t* terms = scratch.terms.data();
    unsigned char* has_term = scratch.has_term.data();
    for (std::size_t i = 0; i < scratch.distinct_parts.size(); ++i) {
        const KeyPart& part = scratch.distinct_parts[i];
        has_term[i] = 1;
        if (part.kind == kAbove) {
            terms[i] = kMultiplier & -static_cast<std::uint64_t>(is_above(part, inputs[part.source]));
            continue;
        }
        const std::uint32_t hash = scratch.hashes.data()[std::size_t{part.source} * kLookupRows];
        const unsigned char has_hash = scratch.has_hash.data()[std::size_t{part.source} * kLookupRows];
        if (part.kind == kEquals) {
            terms[i] = kMultiplier & -static_cast<std::uint64_t>((hash == part.hash) & (has_hash != 0));
        } else {
            terms[i] = kMultiplier * category_part(hash);
            has_term[i] = has_hash;
        }
    }
}

// One row: all tables side by side.
void look_up_row(const Forest& f, const LookupScratch& scratch, double* inputs) {
    std::uint64_t* keys = scratch.keys.data();
    std::uint32_t* entries = scratch.entries.data();
    unsigned char* has_key = scratch.has_key.data();
    evaluate_parts(scratch, inputs);
    const std::uint64_t* terms = scratch.terms.data();
    const unsigned char* has_term = scratch.has_term.data();
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        const TableRecord& table = f.tables[t];
        const std::uint32_t* number = scratch.number_of_part.data() + table.first_part;
        std::uint64_t key = 0;
        unsigned char has_parts = 1;
        for (std::uint32_t p = 0; p < table.n_parts; ++p) {
            key = kMultiplier * (key + terms[number[p]]);
            has_parts = has_parts & has_term[number[p]];
        }
        keys[t] = key;
        has_key[t] = has_parts;
        __builtin_prefetch(first_slot(f, table, key));
    }
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        entries[t] = find_entry(f, f.tables[t], keys[t], has_key[t] != 0);
        __builtin_prefetch(values_of(f, f.tables[t], entries[t]));
    }
    for (std::size_t t = 0; t < f.tables.count; ++t) copy_values(f, f.tables[t], entries[t], inputs);
}

// Several rows: one table after the other.
void look_up_rows(const Forest& f, std::size_t n_rows, const LookupScratch& scratch, double* inputs) {
    std::uint64_t* keys = scratch.keys.data();
    std::uint32_t* entries = scratch.entries.data();
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        const TableRecord table = f.tables[t];
        hash_keys(f, table, inputs, n_rows, scratch, keys, scratch.has_key.data());
        for (std::size_t row = 0; row < n_rows; ++row) __builtin_prefetch(first_slot(f, table, keys[row]));
        for (std::size_t row = 0; row < n_rows; ++row) {
            entries[row] = find_entry(f, table, keys[row], scratch.has_key.data()[row] != 0);
            __builtin_prefetch(values_of(f, table, entries[row]));
        }
        for (std::size_t row = 0; row < n_rows; ++row) copy_values(f, table, entries[row], inputs + row * f.n_inputs);
    }
}

std::size_t most(const Forest& f) { return f.tables.count > kLookupRows ? f.tables.count : kLookupRows; }

}  // namespace

LookupScratch::LookupScratch(const Forest& f)
    : keys(most(f)),
      entries(most(f)),
      has_key(most(f)),
      hashes((f.hashed_features.count + 1) * kLookupRows),
      has_hash((f.hashed_features.count + 1) * kLookupRows),
      terms(f.key_parts.count),
      has_term(f.key_parts.count) {
    number_parts(f);
}

void LookupScratch::number_parts(const Forest& f) {
    std::map<Condition, std::uint32_t> numbers;
    for (std::size_t p = 0; p < f.key_parts.count; ++p) {
        const KeyPart& part = f.key_parts[p];
        const auto [found, is_new] = numbers.try_emplace(condition_of(part), static_cast<std::uint32_t>(distinct_parts.size()));
        if (is_new) distinct_parts.push_back(part);
        number_of_part.push_back(found->second);
    }
}

void fill_inputs(const Forest& f, const void* values, bool is_float32, std::size_t n_rows, const LookupScratch& scratch,
                 double* inputs) {
    for (std::size_t row = 0; row < n_rows; ++row) {
        double* out = inputs + row * f.n_inputs;
        if (is_float32) {
            const float* given = static_cast<const float*>(values) + row * f.n_features;
            for (std::size_t i = 0; i < f.n_features; ++i) out[i] = static_cast<double>(given[i]);
        } else {
            std::memcpy(out, static_cast<const double*>(values) + row * f.n_features, f.n_features * sizeof(double));
        }
    }
    for (std::size_t h = 0; h < f.hashed_features.count; ++h) {
        const HashedFeature& feature = f.hashed_features[h];
        for (std::size_t row = 0; row < n_rows; ++row) {
            std::uint32_t hash = 0;
            scratch.has_hash.data()[h * kLookupRows + row] =
                find_hash(f, feature, inputs[row * f.n_inputs + feature.feature], hash);
            scratch.hashes.data()[h * kLookupRows + row] = hash;
        }
    }
    if (n_rows == 1)
        look_up_row(f, scratch, inputs);
    else
        look_up_rows(f, n_rows, scratch, inputs);
}

}  // namespace mlrf
