// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

// Files of arrays: what is written is read, and each way in which a file can be broken is named.

#include "torch_trainer/safetensors.hpp"

#include <cstring>
#include <numeric>

#include "examples/tool_support.hpp"
#include "torch_trainer/config.hpp"

namespace idiolect::test {

using Catch::Matchers::ContainsSubstring;
using torch_trainer::array_info;
using torch_trainer::dtype;
using torch_trainer::safetensors_reader;
using torch_trainer::safetensors_writer;

namespace {

std::string file_of(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data, '\0');
}

std::string error_of(const std::string& path) {
  try {
    const safetensors_reader file(path);
    return "no error";
  } catch (const std::exception& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("arrays are read as they were written") {
  const tool_test::scratch folder;
  std::vector<float> a(6);
  std::iota(a.begin(), a.end(), -2.5f);
  const std::vector<std::uint16_t> b = {0x3f80, 0xbf80, 0x7f80};
  {
    safetensors_writer file(
        folder / "x.safetensors",
        {{.name = "a", .type = dtype::f32, .shape = {2, 3}, .begin = 0, .end = 0},
         {.name = "b \"quoted\"", .type = dtype::bf16, .shape = {3}, .begin = 0, .end = 0},
         {.name = "nothing", .type = dtype::f16, .shape = {0, 7}, .begin = 0, .end = 0}},
        {{"step", "12"}});
    file.append(std::as_bytes(std::span(a)));
    file.append(std::as_bytes(std::span(b)));
    CHECK(folder.files() == 1);  // not under its name yet
    CHECK_FALSE(std::filesystem::exists(folder / "x.safetensors"));
    file.append({});
    file.commit();
  }
  CHECK(folder.files() == 1);
  safetensors_reader file(folder / "x.safetensors");
  REQUIRE(file.arrays().size() == 3);
  CHECK(file.metadata().at("step") == "12");
  const array_info* const found = file.find("a");
  REQUIRE(found != nullptr);
  CHECK(found->shape == std::vector<index_t>{2, 3});
  std::vector<float> read(6);
  file.read(*found, std::as_writable_bytes(std::span(read)));
  CHECK(read == a);
  std::vector<std::uint16_t> words(3);
  REQUIRE(file.find("b \"quoted\"") != nullptr);
  file.read(*file.find("b \"quoted\""), std::as_writable_bytes(std::span(words)));
  CHECK(words == b);
  CHECK(file.find("c") == nullptr);
}

TEST_CASE("a file that is not finished leaves the old one") {
  const tool_test::scratch folder;
  const auto path = folder.write("x.safetensors", "old");
  {
    safetensors_writer file(
        path, {{.name = "a", .type = dtype::f32, .shape = {4}, .begin = 0, .end = 0}}, {});
    CHECK_THROWS_WITH(file.commit(), ContainsSubstring("have not been written"));
  }
  CHECK(tool_test::read_all(path) == "old");
  CHECK(folder.files() == 1);
}

TEST_CASE("a broken file of arrays is refused with what is wrong and where") {
  const tool_test::scratch folder;
  const std::string good =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}})";
  const auto error = [&](const std::string& bytes) {
    return error_of(folder.write("x.safetensors", bytes));
  };
  const auto header_error = [&](const std::string& header, std::size_t data) {
    return error(file_of(header, data));
  };
  const auto entry = [](const std::string& text) { return "{\"a\":" + text + "}"; };
  CHECK(header_error(good, 12) == "no error");

  CHECK_THAT(error(""), ContainsSubstring("found 0 bytes"));
  CHECK_THAT(error("abc"), ContainsSubstring("found 3 bytes"));
  std::string huge = file_of(good, 12);
  huge[7] = '\x10';  // a header of 2^60 bytes
  CHECK_THAT(error(huge), ContainsSubstring("its header would be 11529215046068"));
  CHECK_THAT(error(file_of(good, 12).substr(0, 40)), ContainsSubstring("its header would be"));
  CHECK_THAT(header_error("{\"a\"", 0), ContainsSubstring("no JSON object"));
  CHECK_THAT(header_error("[1]", 0), ContainsSubstring("no JSON object"));

  CHECK_THAT(header_error(good, 11),
             ContainsSubstring("\"b\": ends at byte 12 of 11: the file is cut off"));
  CHECK_THAT(header_error(good, 13), ContainsSubstring("1 bytes after the last array"));
  CHECK_THAT(
      header_error(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
          12),
      ContainsSubstring("\"b\": overlaps"));
  CHECK_THAT(
      header_error(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
          16),
      ContainsSubstring("\"b\": 4 bytes before it"));
  CHECK_THAT(
      header_error(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          8),
      ContainsSubstring("\"a\" is there twice"));
  CHECK_THAT(header_error(entry(R"({"dtype":"I64","shape":[1],"data_offsets":[0,8]})"), 8),
             ContainsSubstring("\"a\": \"dtype\": expected F32, F16 or BF16, found \"I64\""));
  CHECK_THAT(header_error(entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), 8),
             ContainsSubstring("its shape takes 12 bytes"));
  CHECK_THAT(header_error(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), 8),
             ContainsSubstring("its offsets are 8 and 0"));
  CHECK_THAT(header_error(entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), 8),
             ContainsSubstring("\"shape\": expected whole numbers from 0, found -2"));
  CHECK_THAT(header_error(entry(R"({"dtype":"F32","shape":[2.5],"data_offsets":[0,8]})"), 8),
             ContainsSubstring("found 2.5"));
  CHECK_THAT(
      header_error(entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"),
                   0),
      ContainsSubstring("larger than any file"));
  CHECK_THAT(
      header_error(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,8]})"),
                   8),
      ContainsSubstring("expected whole numbers"));
  CHECK_THAT(header_error(entry(R"({"dtype":"F32","shape":[2]})"), 8),
             ContainsSubstring("\"data_offsets\" is missing"));
  CHECK_THAT(header_error(entry("7"), 8), ContainsSubstring("expected an object"));
  CHECK_THAT(header_error(R"({"__metadata__":{"a":1}})", 0),
             ContainsSubstring("object of strings"));
}

TEST_CASE("a config of another model is refused with the field that says so") {
  const torch_trainer::llama_config c{.hidden_size = 24,
                                      .intermediate_size = 40,
                                      .num_hidden_layers = 2,
                                      .num_attention_heads = 6,
                                      .num_key_value_heads = 2,
                                      .vocab_size = 29,
                                      .max_position_embeddings = 32,
                                      .rms_norm_eps = 1e-5,
                                      .rope_theta = 100000,
                                      .tie_word_embeddings = true,
                                      .bos_token_id = 1,
                                      .eos_token_id = 2};
  const std::string text = to_json(c, "float32");
  CHECK(torch_trainer::parse_config(text, "config.json") == c);
  const auto error = [&](const std::string& pointer, const nlohmann::json& value) {
    auto object = nlohmann::json::parse(text);
    object[pointer] = value;
    try {
      static_cast<void>(torch_trainer::parse_config(object.dump(), "config.json"));
      return std::string("no error");
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  };
  CHECK_THAT(error("model_type", "mamba"), ContainsSubstring("found \"mamba\""));
  CHECK_THAT(error("hidden_act", "gelu"), ContainsSubstring("\"hidden_act\""));
  CHECK_THAT(error("attention_bias", true), ContainsSubstring("no biases"));
  CHECK_THAT(error("hidden_size", 25), ContainsSubstring("no multiple of 6 heads"));
  CHECK_THAT(error("hidden_size", 18), ContainsSubstring("rotated in pairs"));
  CHECK_THAT(error("num_key_value_heads", 4), ContainsSubstring("key-value heads"));
  CHECK_THAT(error("vocab_size", -1), ContainsSubstring("\"vocab_size\""));
  CHECK_THAT(error("vocab_size", nullptr), ContainsSubstring("\"vocab_size\""));
  CHECK_THAT(error("rope_theta", "high"), ContainsSubstring("\"rope_theta\""));
  CHECK_THAT(error("head_dim", 8), ContainsSubstring("\"head_dim\" is 8"));
  CHECK_THAT(error("rope_scaling", {{"rope_type", "llama3"}}), ContainsSubstring("scaled"));
  CHECK(error("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}) == "no error");
}

}  // namespace idiolect::test
