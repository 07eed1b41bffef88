// The format of the forest file.
//
// A header of fixed size, then a table of sections, then the sections: flat little-endian arrays, each starting at a multiple
// of 64 bytes, used in place. Every number in the file is untrusted until `check_forest` has checked it. The writer is
// src/mlrf/builder/exporters/forest_file/; a change on one side is a change of `kVersion` on both.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlrf {

constexpr unsigned char kMagic[8] = {'M', 'L', 'R', 'F', 'T', 'R', 'E', 'E'};
constexpr std::uint32_t kVersion = 5;
// In files of version 4, no sweep node tests a further lane column.
constexpr std::uint32_t kOldestVersion = 4;
constexpr std::size_t kSectionAlignment = 64;

// Narrow: columns and ranks fit 16 bits, walk nodes take 8 bytes. Wide: 32 bits, 16 bytes.
enum Layout : std::uint32_t { kNarrow = 0, kWide = 1 };
enum Rounding : std::uint32_t { kFloat64 = 0, kFloat32 = 1 };
// Of sums alone: some outputs are summed in float32 and others in float64, as kBase says.
constexpr std::uint32_t kByOutput = 2;
// The order in which leaves are added: tree 0 first.
enum SumOrder : std::uint32_t { kTreeOrder = 0 };
// The base starts each sum, or is added after division and scaling.
enum BaseOrder : std::uint32_t { kBaseFirst = 0, kBaseLast = 1 };
// Which numbers are categories: x truncated toward zero (-0.5 is code 0), or x not below 0 truncated.
enum CodeRule : std::uint32_t { kTruncated = 0, kNotNegative = 1 };

enum Section : std::uint32_t {
    kBase,              // f64 [K] where each sum starts, or what is added in the end; of kByOutput then [K] a Rounding each
    kExpected,          // f64 [K] expected raw margin
    kNumericFeatures,   // NumericFeature [] ascending by feature
    kThresholds,        // f64 [] ascending within a feature, distinct
    kColumnRules,       // u8 [numeric columns] a ColumnRule
    kCategoryFeatures,  // CategoryFeature [] ascending by feature
    kCategoryCodes,     // i32 [] ascending within a feature: the codes that some set holds
    kCodeMembers,       // u32 [codes + 1] first member of each code
    kMembers,           // u32 [] columns of the sets that hold the code
    kSetOffsets,        // u32 [category columns + 1] first of kSetCodes of each column
    kSetCodes,          // u32 [] indices into kCategoryCodes: kMembers the other way round, for blocks of rows
    kCodeBits,          // u16 [] of dense features: (n_codes + 2) rows of a bit a column, 1 right; then no code, then NaN
    kSetBits,           // u8 [category columns][16] the same bits by column, one bit for each code; zeros where not dense
    kCategoryDefaults,  // u8 [category columns] what NaN writes: 0 left, 1 right
    kTrees,             // TreeRecord [T] in the order of the sum
    kWalkTrees,         // WalkTree [T] in the order of their depth
    kWalkNodes,         // NarrowNode or WideNode []
    kLeafValues,        // f64 [] by tree, leaves from left to right
    kSweepNodes,        // SweepNode [] by tree, children before their parents, best with those over two leaves first
    kShapFeatures,      // u32 [U] inputs or groups (n_features + group) that contributions are summed for, ascending
    kShapChunks,        // ShapChunk []
    kShapRuns,          // ShapRun []
    kShapNodes,         // ShapNode []
    kShapLeaves,        // f64 [] values of the leaves of each chunk
    kHashedFeatures,    // HashedFeature [] ascending by feature
    kCodeHashes,        // u32 [] by hashed feature: the hash of each code from 0 on
    kKeyParts,          // KeyPart [] by table, in the order in which they are hashed
    kTables,            // TableRecord [] in the order of their columns
    kTableSlots,        // TableSlot [] by table: open addressing, linear probing
    kTableValues,       // f32 [] by table: n_columns of each entry, then those of a key that is not in the table
    kFeatureGroups,     // FeatureGroup [] features that share a contribution in equal parts
    kGroupFeatures,     // u32 [] by group, ascending
    kLinearLeaves,      // LinearLeaf [] one for each of kLeafValues; none where all leaves are constants
    kLinearFeatures,    // u32 [] by linear leaf, in the order of its sum
    kLinearCoefficients,  // f64 [] of these features
    kSectionCount
};

struct SectionRecord {
    std::uint64_t offset_bytes;
    std::uint64_t count;
};

struct Header {
    unsigned char magic[8];
    std::uint32_t version;
    std::uint32_t layout;
    std::uint32_t sum_rounding;
    std::uint32_t input_rounding;
    std::uint32_t sum_order;
    std::uint32_t section_count;
    std::uint64_t file_bytes;
    std::uint32_t n_features;
    std::uint32_t n_outputs;
    std::uint32_t n_trees;
    std::uint32_t n_columns;
    double divisor;
    double scale;
    // 1 or 2: bytes of a sweep lane; 0 where batches walk instead of sweeping.
    std::uint32_t sweep_lane_bytes;
    std::uint32_t base_order;
    std::uint32_t code_rule;
    // Values that tables add to a row, after its own.
    std::uint32_t n_computed;
    SectionRecord sections[kSectionCount];
};
static_assert(sizeof(Header) == 88 + 16 * kSectionCount, "the header has no padding");

// How a numeric column treats missing values.
enum ColumnRule : std::uint8_t {
    kNanIsZero = 0,
    kNanLeft = 1,
    kNanRight = 2,
    kZeroLeft = 3,  // NaN and |x| <= kZeroBand
    kZeroRight = 4,
    kColumnRuleCount = 5,
};
// LightGBM's kZeroThreshold, float32(1e-35) as a double.
constexpr double kZeroBand = 0x1.a95a5cp-117;
// No number at or below this is a category, by code rule.
constexpr double kNoCodeTruncated = -1.0;
constexpr double kNoCodeNegative = -0x0.0000000000001p-1022;

// Thresholds that a column of one byte is ranked among: 0 and 255 are left and right of all of them.
constexpr std::uint32_t kByteRanks = 254;

// How many columns of one byte stand for a column that is ranked among n thresholds: one for each kByteRanks of them.
constexpr std::uint32_t byte_columns(std::uint32_t n_thresholds) {
    return n_thresholds <= kByteRanks ? 1 : (n_thresholds + kByteRanks - 1) / kByteRanks;
}

struct NumericFeature {
    std::uint32_t feature;
    std::uint32_t first_threshold;
    std::uint32_t n_thresholds;
    std::uint32_t first_column;  // absolute; numeric columns start at 1
    std::uint32_t n_columns;
};

struct CategoryFeature {
    std::uint32_t feature;
    std::uint32_t first_code;
    std::uint32_t n_codes;
    std::uint32_t first_column;  // absolute
    std::uint32_t n_columns;
    std::uint32_t first_word;  // of kCodeBits, where dense
};

// A feature with at most this many codes is dense: its codes, "no code" and NaN together fit the 128 bits that one byte
// shuffle looks up.
constexpr std::uint32_t kDenseCodes = 126;
constexpr std::size_t kSetBytes = 16;

struct TreeRecord {
    std::uint32_t output;
    std::uint32_t root;         // walk node
    std::uint32_t first_value;  // leaf value
    std::uint32_t n_leaves;
    std::uint32_t first_sweep;  // n_leaves - 1 sweep nodes, where the forest is swept
};

struct WalkTree {
    std::uint32_t tree;
    std::uint32_t depth;  // steps from the root to the deepest leaf
};

// A row goes to child + (column > rank). A leaf reads column 0, which is always 0, and so loops onto itself; its rank is its
// index among the leaves of its tree.
struct NarrowNode {
    std::uint16_t column;
    std::uint16_t rank;
    std::uint32_t child;
};
struct WideNode {
    std::uint32_t column;
    std::uint32_t rank;
    std::uint32_t child;
    std::uint32_t reserved;
};

// left and right: an earlier sweep node of the tree, or -1 - leaf. The rank is stored less 128 (one byte lanes) or 32,768, so
// that signed comparison, the only one AVX2 has, orders it.
//
// A column of more thresholds than a byte ranks has several columns in lanes of one byte: its own, of the first kByteRanks
// thresholds, and further ones that stand behind the forest's columns, by feature, then by column, then by thresholds. The node
// tests the one of its threshold.
struct SweepNode {
    std::uint16_t column;
    std::int16_t rank;
    std::int16_t left;
    std::int16_t right;
};

// Trees explained together: inner nodes in level order, the roots first; node slots are followed by leaf slots.
struct ShapChunk {
    std::uint32_t first_node;
    std::uint32_t n_nodes;
    std::uint32_t first_leaf;
    std::uint32_t n_leaves;
    std::uint32_t first_run;
    std::uint32_t n_runs;
    std::uint32_t n_roots;
    std::uint32_t n_quadrature;  // nodes of the Gauss-Legendre rule that is exact for each of these trees
};

// Consecutive nodes of a chunk whose features all occur for the first time on their path, or all occurred before.
struct ShapRun {
    std::uint32_t end;  // chunk-relative, exclusive
    std::uint32_t seen;
};

struct ShapNode {
    double share;          // of the node's cover that goes left
    double earlier_share;  // product over the feature's earlier splits on this path; 1 where it appears first
    std::uint32_t left;    // slot in the chunk
    std::uint32_t right;
    std::uint32_t column;
    std::uint32_t rank;
    std::uint32_t sum;      // output * U + feature's index in kShapFeatures
    std::uint32_t earlier;  // 2 * node + (1 if right) of the feature's nearest split above; kNoEarlier where it appears first
};
constexpr std::uint32_t kNoEarlier = 0xFFFFFFFFu;

// A feature whose codes stand for hashes of 32 bits: code c for code_hashes[first_code + c], and kHashedCode + h for h itself.
struct HashedFeature {
    std::uint32_t feature;
    std::uint32_t first_code;
    std::uint32_t n_codes;
};
constexpr double kHashedCode = 4294967296.0;

// What a table's key is hashed from: a category, whether a number is above a border, whether a category has a hash.
enum KeyPartKind : std::uint32_t { kCategory = 0, kAbove = 1, kEquals = 2, kKeyPartKindCount = 3 };
struct KeyPart {
    std::uint32_t kind;
    std::uint32_t source;        // index in kHashedFeatures, or of kAbove the feature
    std::uint32_t hash;          // of kEquals
    std::uint32_t nan_is_above;  // of kAbove: 0 or 1
    double border;               // of kAbove
};

// Values by key: the row's inputs from n_features + first_column on.
struct TableRecord {
    std::uint32_t first_part;
    std::uint32_t n_parts;
    std::uint32_t first_slot;
    std::uint32_t slot_bits;  // 2^slot_bits slots
    std::uint32_t first_value;
    std::uint32_t n_columns;
    std::uint32_t n_entries;
    std::uint32_t first_column;
};
constexpr std::uint32_t kMaxSlotBits = 31;

struct TableSlot {
    std::uint64_t key;
    std::uint32_t entry;
    std::uint32_t is_used;
};

// The slot where the search for a key starts.
constexpr std::uint64_t key_slot(std::uint64_t key, std::uint32_t slot_bits) {
    return (key * 0x9e3779b97f4a7c15u) >> (64 - slot_bits);
}

struct FeatureGroup {
    std::uint32_t first;
    std::uint32_t count;
};

// A leaf that adds constant + sum of coefficient * x, from left to right; its leaf value where an x is NaN.
struct LinearLeaf {
    double constant;
    std::uint32_t first;  // of kLinearFeatures and kLinearCoefficients
    std::uint32_t count;
};

static_assert(sizeof(LinearLeaf) == 16, "no padding");
static_assert(sizeof(HashedFeature) == 12 && sizeof(KeyPart) == 24 && sizeof(TableRecord) == 32, "no padding");
static_assert(sizeof(TableSlot) == 16 && sizeof(FeatureGroup) == 8, "no padding");
static_assert(sizeof(NumericFeature) == 20 && sizeof(CategoryFeature) == 24 && sizeof(TreeRecord) == 20, "no padding");
static_assert(sizeof(NarrowNode) == 8 && sizeof(WideNode) == 16 && sizeof(SweepNode) == 8, "no padding");
static_assert(sizeof(ShapChunk) == 32 && sizeof(ShapRun) == 8 && sizeof(ShapNode) == 40, "no padding");

constexpr std::uint32_t kMaxFeatures = 1u << 24;
constexpr std::uint32_t kMaxOutputs = 1u << 16;
// The most quadrature nodes a tree may need: exact for 1,024 distinct features on one path.
constexpr std::uint32_t kMaxQuadrature = 512;

}  // namespace mlrf
