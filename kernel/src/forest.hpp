// A forest as the kernel uses it: pointers into a checked file; owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "format.hpp"
#include "threshold_tree.hpp"

namespace mlrf {

// The file is not a forest file, of another version, or damaged; what() is a complete sentence.
struct ForestFileError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A section of the file, used in place.
template <typename Record>
struct Table {
    const Record* data;
    std::size_t count;

    // Always inlined: a shared copy compiled for one instruction set would run on processors without it.
    __attribute__((always_inline)) const Record& operator[](std::size_t index) const { return data[index]; }
};

// Plain data only: the files compiled for one instruction set read it, and must not include library code.
struct Forest {
    std::uint32_t n_features;  // values of a row as it is given
    std::uint32_t n_inputs;    // with those that tables add behind them: what nodes test
    std::uint32_t n_outputs;
    std::uint32_t n_trees;
    std::uint32_t n_columns;
    std::uint32_t n_sweep_columns;  // with the further columns of lanes of one byte, behind them (SweepNode)
    std::uint32_t first_category_column;
    bool is_wide;
    bool sums_in_float32;  // all of them
    const double* sum_roundings;  // [K] 1 for sums in float32, else 0; nullptr where all are alike
    bool inputs_in_float32;
    bool adds_base_last;
    bool is_plain;  // no tables before the trees, and constants in all leaves
    std::uint32_t sweep_lane_bytes;
    double divisor;
    double scale;
    double no_code_up_to;

    Table<double> base;
    Table<double> expected;
    Table<NumericFeature> numeric_features;
    Table<double> thresholds;
    Table<std::uint8_t> column_rules;
    Table<CategoryFeature> category_features;
    Table<std::int32_t> category_codes;
    Table<std::uint32_t> code_members;
    Table<std::uint32_t> members;
    Table<std::uint32_t> set_offsets;
    Table<std::uint32_t> set_codes;
    Table<std::uint16_t> code_bits;
    Table<std::uint8_t> set_bits;
    Table<std::uint8_t> category_defaults;
    Table<TreeRecord> trees;
    Table<WalkTree> walk_trees;
    const void* walk_nodes;
    std::size_t n_walk_nodes;
    Table<double> leaf_values;
    Table<SweepNode> sweep_nodes;
    Table<std::uint32_t> shap_features;
    Table<ShapChunk> shap_chunks;
    Table<ShapRun> shap_runs;
    Table<ShapNode> shap_nodes;
    Table<double> shap_leaves;
    Table<HashedFeature> hashed_features;
    Table<std::uint32_t> code_hashes;
    Table<KeyPart> key_parts;
    Table<TableRecord> tables;
    Table<TableSlot> table_slots;
    Table<float> table_values;
    Table<FeatureGroup> feature_groups;
    Table<std::uint32_t> group_features;
    Table<LinearLeaf> linear_leaves;
    Table<std::uint32_t> linear_features;
    Table<double> linear_coefficients;

    const ThresholdTree* threshold_trees;  // by numeric feature
    bool ranks_in_float32;                 // inputs and thresholds are all float32
    std::uint32_t max_leaves;      // of one tree
    std::uint32_t max_shap_slots;  // of one chunk
    std::uint32_t max_shap_nodes;  // of one chunk
};

// Whether an output is summed in float32. Always inlined, as above.
__attribute__((always_inline)) inline bool is_float32_sum(const Forest& f, std::size_t output) {
    return f.sum_roundings != nullptr ? f.sum_roundings[output] != 0.0 : f.sums_in_float32;
}

// Check every index, order and number in `size_bytes` bytes at `bytes` (64-byte aligned) and return the forest, in place.
// Throws ForestFileError. After it returns, no row can make the kernel read outside the file or loop for ever.
Forest check_forest(const unsigned char* bytes, std::size_t size_bytes);

}  // namespace mlrf
