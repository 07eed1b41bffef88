#include "forest.hpp"

#include <cmath>
#include <cstring>
#include <string>

#include "forest_checks.hpp"

namespace mlrf {
namespace {

template <typename Record>
Table<Record> section(const unsigned char* bytes, const Header& header, Section which) {
    const SectionRecord& record = header.sections[which];
    require(record.offset_bytes % kSectionAlignment == 0, "a section is not aligned");
    require(record.offset_bytes <= header.file_bytes, "a section starts beyond the end");
    require(record.count <= 0xFFFFFFFFu, "a section is too long");
    require(record.count <= (header.file_bytes - record.offset_bytes) / sizeof(Record), "a section runs beyond the end");
    return {reinterpret_cast<const Record*>(bytes + record.offset_bytes), static_cast<std::size_t>(record.count)};
}

Header check_header(const unsigned char* bytes, std::size_t size_bytes) {
    Header header;
    if (size_bytes < sizeof(Header) || std::memcmp(bytes, kMagic, sizeof kMagic) != 0)
        throw ForestFileError("the file is not a forest file, or is cut short; build the bundle again");
    std::memcpy(&header, bytes, sizeof header);
    if (header.version < kOldestVersion || header.version > kVersion)
        throw ForestFileError("the forest file is of version " + std::to_string(header.version) + ", this mlrf reads versions " +
                              std::to_string(kOldestVersion) + " to " + std::to_string(kVersion) + "; build the bundle again");
    require(header.section_count == kSectionCount, "it has another number of sections");
    require(header.file_bytes == size_bytes, "its length is not the one its header names");
    require(header.layout <= kWide, "its layout is unknown");
    require(header.sum_rounding <= kByOutput, "its rounding of sums is unknown");
    require(header.input_rounding <= kFloat32, "its rounding of inputs is unknown");
    require(header.sum_order == kTreeOrder, "its order of sums is unknown");
    require(header.n_features >= 1 && header.n_features <= kMaxFeatures, "its number of features is out of range");
    require(header.n_outputs >= 1 && header.n_outputs <= kMaxOutputs, "its number of outputs is out of range");
    require(header.n_columns >= 1, "it has no columns");
    require(std::isfinite(header.divisor) && header.divisor > 0, "its divisor is not positive");
    require(std::isfinite(header.scale) && header.scale != 0, "its scale is zero or not finite");
    require(header.sweep_lane_bytes <= 2, "its sweep lanes are of an unknown size");
    require(header.base_order <= kBaseLast, "its order of base and sum is unknown");
    require(header.code_rule <= kNotNegative, "its rule of category codes is unknown");
    require(header.n_computed <= kMaxFeatures - header.n_features, "its number of computed values is out of range");
    return header;
}

}  // namespace

Forest check_forest(const unsigned char* bytes, std::size_t size_bytes) {
    const Header header = check_header(bytes, size_bytes);
    Forest f{};
    f.n_features = header.n_features;
    f.n_inputs = header.n_features + header.n_computed;
    f.n_outputs = header.n_outputs;
    f.n_trees = header.n_trees;
    f.n_columns = header.n_columns;
    f.is_wide = header.layout == kWide;
    f.sums_in_float32 = header.sum_rounding == kFloat32;
    f.inputs_in_float32 = header.input_rounding == kFloat32;
    f.adds_base_last = header.base_order == kBaseLast;
    f.sweep_lane_bytes = header.sweep_lane_bytes;
    f.divisor = header.divisor;
    f.scale = header.scale;
    f.no_code_up_to = header.code_rule == kTruncated ? kNoCodeTruncated : kNoCodeNegative;

    f.base = section<double>(bytes, header, kBase);
    f.expected = section<double>(bytes, header, kExpected);
    f.numeric_features = section<NumericFeature>(bytes, header, kNumericFeatures);
    f.thresholds = section<double>(bytes, header, kThresholds);
    f.column_rules = section<std::uint8_t>(bytes, header, kColumnRules);
    f.category_features = section<CategoryFeature>(bytes, header, kCategoryFeatures);
    f.category_codes = section<std::int32_t>(bytes, header, kCategoryCodes);
    f.code_members = section<std::uint32_t>(bytes, header, kCodeMembers);
    f.members = section<std::uint32_t>(bytes, header, kMembers);
    f.set_offsets = section<std::uint32_t>(bytes, header, kSetOffsets);
    f.set_codes = section<std::uint32_t>(bytes, header, kSetCodes);
    f.code_bits = section<std::uint16_t>(bytes, header, kCodeBits);
    f.set_bits = section<std::uint8_t>(bytes, header, kSetBits);
    f.category_defaults = section<std::uint8_t>(bytes, header, kCategoryDefaults);
    f.trees = section<TreeRecord>(bytes, header, kTrees);
    f.walk_trees = section<WalkTree>(bytes, header, kWalkTrees);
    f.leaf_values = section<double>(bytes, header, kLeafValues);
    f.sweep_nodes = section<SweepNode>(bytes, header, kSweepNodes);
    f.shap_features = section<std::uint32_t>(bytes, header, kShapFeatures);
    f.shap_chunks = section<ShapChunk>(bytes, header, kShapChunks);
    f.shap_runs = section<ShapRun>(bytes, header, kShapRuns);
    f.shap_nodes = section<ShapNode>(bytes, header, kShapNodes);
    f.shap_leaves = section<double>(bytes, header, kShapLeaves);
    f.hashed_features = section<HashedFeature>(bytes, header, kHashedFeatures);
    f.code_hashes = section<std::uint32_t>(bytes, header, kCodeHashes);
    f.key_parts = section<KeyPart>(bytes, header, kKeyParts);
    f.tables = section<TableRecord>(bytes, header, kTables);
    f.table_slots = section<TableSlot>(bytes, header, kTableSlots);
    f.table_values = section<float>(bytes, header, kTableValues);
    f.feature_groups = section<FeatureGroup>(bytes, header, kFeatureGroups);
    f.group_features = section<std::uint32_t>(bytes, header, kGroupFeatures);
    f.linear_leaves = section<LinearLeaf>(bytes, header, kLinearLeaves);
    f.linear_features = section<std::uint32_t>(bytes, header, kLinearFeatures);
    f.linear_coefficients = section<double>(bytes, header, kLinearCoefficients);
    f.is_plain = f.tables.count == 0 && f.linear_leaves.count == 0;

    const bool is_mixed = header.sum_rounding == kByOutput;
    require(f.base.count == (is_mixed ? 2 : 1) * std::size_t{f.n_outputs} && f.expected.count == f.n_outputs,
            "base and outputs do not match");
    f.sum_roundings = is_mixed ? f.base.data + f.n_outputs : nullptr;
    require_finite(f.base, "the base is not finite");
    for (std::size_t k = 0; is_mixed && k < f.n_outputs; ++k)
        require(f.sum_roundings[k] == kFloat64 || f.sum_roundings[k] == kFloat32, "its rounding of an output is unknown");
    require_finite(f.expected, "the expected margin is not finite");
    require(f.trees.count == f.n_trees && f.walk_trees.count == f.n_trees, "trees and their records do not match");
    require(1 + std::uint64_t{f.column_rules.count} + f.category_defaults.count == f.n_columns, "columns do not add up");
    require(f.is_wide || f.n_columns <= 0x10000, "it has too many columns for 16 bits");
    f.first_category_column = static_cast<std::uint32_t>(1 + f.column_rules.count);
    f.n_sweep_columns = f.n_columns;
    require(f.code_members.count >= 1, "codes and their sets do not match");
    check_numeric_features(f);
    check_category_features(f);
    check_trees(f);
    if (f.is_wide) {
        const auto nodes = section<WideNode>(bytes, header, kWalkNodes);
        f.walk_nodes = nodes.data;
        f.n_walk_nodes = nodes.count;
    } else {
        const auto nodes = section<NarrowNode>(bytes, header, kWalkNodes);
        f.walk_nodes = nodes.data;
        f.n_walk_nodes = nodes.count;
    }
    check_walk(f);
    check_shap(f);
    check_hashed_features(f);
    check_tables(f);
    check_feature_groups(f);
    check_linear_leaves(f);
    return f;
}

}  // namespace mlrf
