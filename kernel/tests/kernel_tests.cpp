// The kernel's own tests, free of Python so that sanitizers and foreign processors can run them.
//
//   kernel_tests CORPUS SCRATCH MUTATIONS
//
// Every case of CORPUS (make_corpus.py) must give the result of the slow reference rules at every level. Then MUTATIONS damaged
// forest files, written to the file SCRATCH, must each be refused or evaluated; a sanitizer or the caller's time limit finds
// other failures.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine.hpp"
#include "explanation_json.hpp"
#include "game.hpp"
#include "json_rows.hpp"
#include "json_tensor.hpp"

namespace {

using Bytes = std::vector<unsigned char>;

int failures = 0;

void expect(bool holds, const std::string& what) {
    if (holds) return;
    std::printf("FAILED %s\n", what.c_str());
    ++failures;
}

Bytes read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

std::vector<std::string> levels() {
    std::vector<std::string> found;
    for (const char* name : {"baseline", "avx2", "avx512", "vbmi"}) {
        try {
            mlrf::choose_level(name);
            found.emplace_back(name);
        } catch (const std::invalid_argument&) {
        }
    }
    return found;
}

struct Answers {
    std::size_t n_rows, n_features, n_outputs, n_explained;
    std::vector<double> rows, margins, contributions;
};

Answers read_answers(const std::filesystem::path& path) {
    const Bytes bytes = read_file(path);
    std::uint64_t head[4];
    std::memcpy(head, bytes.data(), sizeof head);
    Answers a{head[0], head[1], head[2], head[3], {}, {}, {}};
    a.rows.resize(a.n_rows * a.n_features);
    a.margins.resize(a.n_rows * a.n_outputs);
    a.contributions.resize(a.n_explained * a.n_features * a.n_outputs);
    const unsigned char* next = bytes.data() + sizeof head;
    for (std::vector<double>* numbers : {&a.rows, &a.margins, &a.contributions}) {
        if (!numbers->empty()) std::memcpy(numbers->data(), next, numbers->size() * sizeof(double));
        next += numbers->size() * sizeof(double);
    }
    return a;
}

bool is_same(const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

void check_case(const std::filesystem::path& forest, const std::string& level) {
    const Answers a = read_answers(std::filesystem::path(forest).replace_extension(".answers"));
    const std::string what = forest.filename().string() + " at " + level;
    mlrf::Engine engine(forest.string(), level.c_str());
    const mlrf::Rows rows{a.rows.data(), false, a.n_rows};
    std::vector<double> margins(a.margins.size());
    for (std::size_t row = 0; row < a.n_rows; ++row)
        engine.margin(a.rows.data() + row * a.n_features, false, margins.data() + row * a.n_outputs);
    expect(is_same(margins, a.margins), what + ": margins of single rows");
    for (const unsigned threads : {1u, 3u}) {
        margins.assign(margins.size(), 0.0);
        engine.margins(rows, threads, margins.data());
        expect(is_same(margins, a.margins), what + ": margins of a batch");
    }
    if (engine.forest().linear_leaves.count > 0) return;
    const std::size_t row_size = a.n_features * a.n_outputs;
    std::vector<double> pairs(a.n_features * row_size), values(row_size);
    for (std::size_t row = 0; row < a.n_explained; ++row) {
        const mlrf::Rows one_row{a.rows.data() + row * a.n_features, false, 1};
        engine.explainer().interactions(one_row, 1, pairs.data());
        engine.explainer().contributions(one_row.values, false, values.data());
        for (std::size_t i = 0; i < row_size; ++i) {
            double sum = 0.0, scale = 1.0;
            for (std::size_t j = 0; j < a.n_features; ++j) {
                const double pair = pairs[(i / a.n_outputs * a.n_features + j) * a.n_outputs + i % a.n_outputs];
                sum += pair;
                scale += std::fabs(pair);
            }
            expect(std::fabs(sum - values[i]) <= 1e-9 * scale, what + ": interactions add up to the contributions");
        }
    }
    std::vector<double> many(a.n_rows * row_size), one(row_size);
    engine.explainer().contributions_many(rows, 2, many.data());
    for (std::size_t row = 0; row < a.n_explained; ++row) {
        engine.explainer().contributions(a.rows.data() + row * a.n_features, false, one.data());
        double scale = 1.0;
        for (std::size_t i = 0; i < row_size; ++i) scale += std::fabs(a.contributions[row * row_size + i]);
        for (std::size_t i = 0; i < row_size; ++i) {
            expect(std::fabs(one[i] - a.contributions[row * row_size + i]) <= 1e-9 * scale, what + ": contributions of a row");
        }
    }
    for (std::size_t row = 0; row < a.n_rows; ++row) {
        engine.explainer().contributions(a.rows.data() + row * a.n_features, false, one.data());
        for (std::size_t i = 0; i < row_size; ++i)
            expect(many[row * row_size + i] == one[i], what + ": contributions of a batch");
    }
}

// Damage a valid file: flipped bits, integers at boundary values, a shorter or longer end.
Bytes mutate(Bytes bytes, std::mt19937_64& random) {
    static const std::uint64_t kEdges[] = {0,
                                           1,
                                           2,
                                           63,
                                           64,
                                           127,
                                           255,
                                           256,
                                           0x7FFF,
                                           0xFFFF,
                                           0x10000,
                                           0x7FFFFFFF,
                                           0x80000000,
                                           0xFFFFFFFE,
                                           0xFFFFFFFF,
                                           0x100000000,
                                           0x7FFFFFFFFFFFFFFF,
                                           0x8000000000000000,
                                           0xFFFFFFFFFFFFFFFF,
                                           0x7FF0000000000000,
                                           0x7FF8000000000000,
                                           0xBFF0000000000000};
    const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const std::size_t n_changes = 1 + pick(4);
    for (std::size_t change = 0; change < n_changes; ++change) {
        // Half of the changes are in the header, which is a small part of the file and describes all the rest.
        const std::size_t reach = pick(2) == 0 ? std::min(sizeof(mlrf::Header), bytes.size()) : bytes.size();
        if (reach == 0) break;
        const std::size_t kind = pick(8);
        if (kind < 3) {
            bytes[pick(reach)] ^= static_cast<unsigned char>(1u << pick(8));
        } else if (kind < 7) {
            const std::size_t width = std::size_t{1} << (1 + pick(3));
            const std::size_t at = pick(reach) / width * width;
            std::uint64_t number = 0;
            if (at + width <= bytes.size()) std::memcpy(&number, &bytes[at], width);
            number = pick(3) == 0 ? number + pick(5) - 2 : kEdges[pick(std::size(kEdges))];
            if (at + width <= bytes.size()) std::memcpy(&bytes[at], &number, width);
        } else {
            bytes.resize(pick(4) == 0 ? bytes.size() + pick(200) : pick(bytes.size() + 1));
            // Half of the truncated files state the new length in their header, so that the checks after the length are reached
            // too.
            const std::uint64_t size = bytes.size();
            if (pick(2) == 0 && bytes.size() >= sizeof(mlrf::Header))
                std::memcpy(&bytes[offsetof(mlrf::Header, file_bytes)], &size, sizeof size);
        }
    }
    return bytes;
}

// Returns whether the file was accepted.
bool ask(const std::string& path, const char* level, std::mt19937_64& random) {
    try {
        mlrf::Engine engine(path, level);
        const std::size_t n_features = engine.forest().n_features, n_outputs = engine.forest().n_outputs;
        const std::size_t n_rows = n_features <= 256 ? 140 : 1;
        std::vector<double> rows(n_rows * n_features);
        static const double kValues[] = {0.0,   1.0,   -1.0, 0.5,      2.0,       7.0,          64.0,
                                         1e-36, 1e300, NAN,  INFINITY, -INFINITY, 2147483647.0, 4095.0, 4294967296.0, 8589934591.0};
        for (double& value : rows) value = kValues[random() % std::size(kValues)];
        std::vector<double> margins(n_rows * n_outputs);
        engine.margin(rows.data(), false, margins.data());
        engine.margins({rows.data(), false, n_rows}, 1, margins.data());
        if (n_features * n_outputs > 1000000 || engine.forest().linear_leaves.count > 0) return true;
        const std::size_t n_explained = std::min<std::size_t>(n_rows, 9);
        std::vector<double> contributions(n_explained * n_features * n_outputs);
        engine.explainer().contributions(rows.data(), false, contributions.data());
        engine.explainer().contributions_many({rows.data(), false, n_explained}, 1, contributions.data());
        if (n_features * n_features * n_outputs > 1000000) return true;
        std::vector<double> interactions(2 * n_features * n_features * n_outputs);
        try {
            engine.explainer().interactions({rows.data(), false, 2}, 1, interactions.data());
            const mlrf::Rows explained{rows.data(), false, n_explained};
            const auto background =
                mlrf::make_game("background", {engine, engine.forest(), mlrf::file_shares(engine.forest()), explained, std::size_t{1} << 26});
            background->contributions_many({rows.data(), false, n_explained}, 1, contributions.data());
        } catch (const mlrf::ForestFileError&) {
            // Nodes that are no trees: walking them is safe, listing the splits above them is not.
        } catch (const mlrf::TooLargeError&) {
        }
        return true;
    } catch (const mlrf::ForestFileError&) {
        return false;
    }
}

// Read a batch of JSON cut off at every byte, and with damaged bytes, from memory of exactly its size.
void check_json_rows(std::mt19937_64& random, const std::string& before, const std::string& after, bool is_explained, unsigned top) {
    const std::string whole =
        "{" + before + "\"instances\": [{\"features\": [1.25, null, 12345678.12345678e-3]}, {\"features\": {\"a\": -7E+2, \"b\": true, \"c\": 0.0}}]" + after + "}";
    const mlrf::JsonRows rows({{"\"a\"", -1e300, 1e300, false, true, false},
                               {"\"b\"", 0.0, 1.0, true, true, true},
                               {"\"c\"", -1e300, 1e300, false, true, false}},
                              true);
    mlrf::JsonExplain explain;
    const auto read = [&](const std::string& text) {
        const std::vector<char> exact(text.begin(), text.end());
        std::vector<double> table(2 * rows.n_columns());
        rows.count(exact.data(), exact.data() + exact.size(), 2);
        return rows.read(exact.data(), exact.data() + exact.size(), 2, table.data(), explain);
    };
    expect(read(whole) && explain.is_requested == is_explained && explain.top == top, "a batch of JSON is read");
    for (std::size_t size = 0; size < whole.size(); ++size) expect(!read(whole.substr(0, size)), "half a batch of JSON is not read");
    for (int i = 0; i < 20000; ++i) {
        std::string damaged = whole;
        for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] = "0123456789.eE+-,[]{}\"ntf :"[random() % 27];
        read(damaged);
    }
}

// The same of an infer request with one tensor.
void check_json_tensor(std::mt19937_64& random) {
    const std::string whole =
        "{\"id\": \"a7\", \"inputs\": [{\"name\": \"features\", \"shape\": [2, 3], \"datatype\": \"FP32\", "
        "\"data\": [[1.25, null, 3], [-7E+2, 1, 0.0]]}]}";
    const mlrf::JsonTensor tensor({{-1e300, 1e300, false, true}, {0.0, 1.0, true, true}, {-1e300, 1e300, false, true}},
                                  {"\"other\"", "\"features\""}, {"\"prediction\""});
    mlrf::JsonTensorHead head;
    const auto read = [&](const std::string& text, std::size_t n_following = 0) {
        const std::vector<char> exact(text.begin(), text.end());
        const char* const end = exact.data() + exact.size();
        const mlrf::TensorBody body{exact.data(), end - std::min(n_following, exact.size()), end};
        if (!tensor.read_head(body, 2, head)) return false;
        std::vector<double> table(head.n_rows * tensor.n_columns());
        return tensor.read_rows(body, head, table.data());
    };
    expect(read(whole) && head.name == 1 && head.n_rows == 2 && head.is_float32, "an infer request is read");
    for (std::size_t size = 0; size < whole.size(); ++size) expect(!read(whole.substr(0, size)), "half an infer request is not read");
    for (int i = 0; i < 20000; ++i) {
        std::string damaged = whole;
        for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] = "0123456789.eE+-,[]{}\"ntf :"[random() % 27];
        read(damaged);
    }
    const std::string head_of_bytes =
        "{\"outputs\": [{\"name\": \"prediction\", \"parameters\": {\"binary_data\": true}}], \"inputs\": [{\"name\": \"features\", "
        "\"shape\": [2, 3], \"datatype\": \"FP32\", \"parameters\": {\"binary_data_size\": 24}}], \"id\": \"a7\", "
        "\"parameters\": {\"binary_data_output\": false}}";
    const std::string bytes = head_of_bytes + std::string(24, '\0');
    expect(read(bytes, 24) && head.output == std::size_t{0} && head.answers_in_binary() && head.id.size() == 2, "binary tensors are read");
    for (std::size_t size = 24; size < bytes.size(); ++size) expect(!read(bytes.substr(0, size), 24), "half a binary tensor is not read");
    for (std::size_t n = 0; n < bytes.size(); ++n) expect(n == 24 || !read(bytes, n), "a binary tensor of another size is not read");
    for (int i = 0; i < 20000; ++i) {
        std::string damaged = bytes;
        for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] = "0123456789.eE+-,[]{}\"ntf :"[random() % 27];
        read(damaged, 24);
    }
}

// Write explanations of any numbers, for every number of named players and for one and several outputs.
void check_explanation_json(std::mt19937_64& random) {
    const std::vector<std::string> players{"\"a\"", "\"b\"", "\"c\""};
    for (const std::vector<std::string>& outputs : {std::vector<std::string>{}, std::vector<std::string>{"\"x\"", "\"y\""}}) {
        const mlrf::ExplanationJson json(players, outputs, ",\"more\":1");
        const std::size_t k = json.n_outputs();
        for (int i = 0; i < 20000; ++i) {
            std::vector<double> numbers(k * (2 + players.size()));
            for (double& each : numbers) {
                const std::uint64_t bits = random();
                std::memcpy(&each, &bits, sizeof(each));
            }
            const std::optional<std::size_t> top = i % 5 == 4 ? std::nullopt : std::optional<std::size_t>(i % 5);
            std::string written;
            json.write(numbers.data(), numbers.data() + k, numbers.data() + 2 * k, top, "live", written);
            expect(written.front() == '{' && written.back() == '}', "an explanation is an object");
        }
    }
}

}  // namespace

int main(int n_arguments, char** arguments) {
    if (n_arguments != 4) {
        std::printf("usage: kernel_tests CORPUS SCRATCH MUTATIONS\n");
        return 2;
    }
    std::vector<std::filesystem::path> forests;
    for (const auto& entry : std::filesystem::directory_iterator(arguments[1]))
        if (entry.path().extension() == ".forest") forests.push_back(entry.path());
    std::sort(forests.begin(), forests.end());
    expect(!forests.empty(), "the corpus holds no forest");
    const std::vector<std::string> names = levels();
    for (const auto& forest : forests)
        for (const std::string& level : names) check_case(forest, level);
    std::printf("%zu forests at %zu levels\n", forests.size(), names.size());

    std::mt19937_64 random(7);
    check_json_tensor(random);
    check_json_rows(random, "", "", false, 0);
    check_json_rows(random, "", ", \"explain\": true", true, 0);
    check_json_rows(random, "\"explain\": 12, ", "", true, 12);
    check_explanation_json(random);
    std::vector<Bytes> sound;
    for (const auto& forest : forests)
        if (std::filesystem::file_size(forest) < 300000) sound.push_back(read_file(forest));
    long answered = 0;
    const long n_mutations = std::strtol(arguments[3], nullptr, 10);
    for (long i = 0; i < n_mutations && !sound.empty(); ++i) {
        const Bytes bytes = mutate(sound[static_cast<std::size_t>(i) % sound.size()], random);
        std::ofstream(arguments[2], std::ios::binary | std::ios::trunc)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        answered += ask(arguments[2], names[static_cast<std::size_t>(i) % names.size()].c_str(), random);
    }
    std::filesystem::remove(arguments[2]);
    std::printf("%ld mutated files: %ld refused, %ld answered\n", n_mutations, n_mutations - answered, answered);
    expect(n_mutations == 0 || (answered > 0 && answered < n_mutations), "mutations are all refused, or none is");
    return failures == 0 ? 0 : 1;
}
