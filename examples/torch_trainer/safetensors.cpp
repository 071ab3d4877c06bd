// SPDX-FileCopyrightText: The idiolect authors
// SPDX-License-Identifier: Apache-2.0

#include "torch_trainer/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include <idiolect/core/error.hpp>

#include "tool/errors.hpp"
#include "tool/text.hpp"

namespace torch_trainer {

static_assert(std::endian::native == std::endian::little, "the file's bytes are the memory's");

namespace {

using nlohmann::json;

constexpr std::pair<dtype, const char*> names[] = {
    {dtype::f32, "F32"}, {dtype::f16, "F16"}, {dtype::bf16, "BF16"}};

/// The format's own limit.
constexpr std::uint64_t longest_header = 100'000'000;

/// The bytes of an array by its type and shape.
std::uint64_t size_of(const array_info& array, const std::string& place) {
  std::uint64_t size = bytes_of(array.type);
  for (const auto d : array.shape) {
    const auto n = static_cast<std::uint64_t>(d);
    if (n != 0 && size > std::numeric_limits<std::uint64_t>::max() / n) {
      tool::fail(place, "\"shape\" is larger than any file");
    }
    size *= n;
  }
  return size;
}

/// A value for a message; one with parts, which may be deep, by its kind alone.
std::string shown(const json& value) {
  return value.is_structured()
             ? value.type_name()
             : tool::printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::uint64_t unsigned_of(const json& value, const char* what, const std::string& place) {
  // Sizes are index_t in memory, so that one above its range is as wrong as a negative one.
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<idiolect::index_t>::max())) {
    tool::fail(place, std::string("\"") + what + "\": expected whole numbers from 0, found " +
                          shown(value));
  }
  return value.get<std::uint64_t>();
}

array_info parse_array(const std::string& name, const json& entry, const std::string& file) {
  const std::string place = file + ", array \"" + tool::printable(name) + "\"";
  if (!entry.is_object()) tool::fail(place, "expected an object");
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(field)) tool::fail(place, std::string("\"") + field + "\" is missing");
  }
  array_info array{.name = name, .type = dtype::f32, .shape = {}, .begin = 0, .end = 0};
  const auto known =
      std::ranges::find_if(names, [&](const auto& n) { return entry.at("dtype") == n.second; });
  if (known == std::end(names)) {
    tool::fail(place, "\"dtype\": expected F32, F16 or BF16, found " + shown(entry.at("dtype")));
  }
  array.type = known->first;
  if (!entry.at("shape").is_array()) tool::fail(place, "\"shape\": expected an array");
  for (const json& d : entry.at("shape")) {
    array.shape.push_back(static_cast<idiolect::index_t>(unsigned_of(d, "shape", place)));
  }
  const json& offsets = entry.at("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) {
    tool::fail(place, "\"data_offsets\": expected [begin, end]");
  }
  array.begin = unsigned_of(offsets[0], "data_offsets", place);
  array.end = unsigned_of(offsets[1], "data_offsets", place);
  const std::uint64_t size = size_of(array, place);
  if (array.end < array.begin || array.end - array.begin != size) {
    tool::fail(place, "its shape takes " + std::to_string(size) + " bytes, its offsets are " +
                          std::to_string(array.begin) + " and " + std::to_string(array.end));
  }
  return array;
}

/// `arrays`, by their bytes, cover [0, size).
void check_cover(const std::vector<array_info>& arrays, std::uint64_t size,
                 const std::string& file) {
  std::uint64_t at = 0;
  for (const array_info& a : arrays) {
    const std::string place = file + ", array \"" + tool::printable(a.name) + "\"";
    if (a.begin < at) tool::fail(place, "overlaps the array before it");
    if (a.begin > at) {
      tool::fail(place, std::to_string(a.begin - at) + " bytes before it belong to no array");
    }
    if (a.end > size) {
      tool::fail(place, "ends at byte " + std::to_string(a.end) + " of " + std::to_string(size) +
                            ": the file is cut off");
    }
    at = a.end;
  }
  if (at != size) {
    tool::fail(file, std::to_string(size - at) + " bytes after the last array belong to none");
  }
}

}  // namespace

const char* name_of(dtype type) {
  return names[static_cast<std::size_t>(type)].second;
}
std::size_t bytes_of(dtype type) {
  return type == dtype::f32 ? 4 : 2;
}

safetensors_reader::safetensors_reader(const std::filesystem::path& path) : path_(path.string()) {
  std::error_code failure;
  const std::uint64_t size = std::filesystem::file_size(path, failure);
  if (failure) tool::fail(path_, "cannot be read: " + failure.message());
  file_.open(path, std::ios::binary);
  std::uint64_t length = 0;
  if (!file_.read(reinterpret_cast<char*>(&length), sizeof length)) {
    tool::fail(path_, "expected a safetensors file, found " + std::to_string(size) + " bytes");
  }
  if (length > longest_header || length > size - sizeof length) {
    tool::fail(path_, "its header would be " + std::to_string(length) +
                          " bytes long, the file is " + std::to_string(size) +
                          ": no safetensors file, or cut off");
  }
  std::string header(static_cast<std::size_t>(length), '\0');
  if (!file_.read(header.data(), static_cast<std::streamsize>(length))) {
    tool::fail(path_, "cannot be read to the end of its header");
  }
  data_ = sizeof length + length;

  // The parser keeps the last of two entries of one name: the first would go unchecked.
  std::vector<std::string> seen;
  const json object = json::parse(
      header,
      [&](int depth, json::parse_event_t event, json& parsed) {
        if (event == json::parse_event_t::key && depth == 1) {
          seen.push_back(parsed.get<std::string>());
        }
        return true;
      },
      false);
  if (!object.is_object()) tool::fail(path_, "its header is no JSON object");
  std::ranges::sort(seen);
  if (const auto twice = std::ranges::adjacent_find(seen); twice != seen.end()) {
    tool::fail(path_, "array \"" + tool::printable(*twice) + "\" is there twice");
  }
  for (const auto& [name, entry] : object.items()) {
    if (name != "__metadata__") {
      arrays_.push_back(parse_array(name, entry, path_));
      continue;
    }
    for (const auto& [key, value] : entry.items()) {
      if (!entry.is_object() || !value.is_string()) {
        tool::fail(path_, "\"__metadata__\": expected an object of strings");
      }
      metadata_[key] = value.get<std::string>();
    }
  }
  std::ranges::stable_sort(arrays_, {}, [](const array_info& a) {
    return std::pair(a.begin, a.end);  // empty arrays stand before what begins with them
  });
  check_cover(arrays_, size - data_, path_);
}

const array_info* safetensors_reader::find(const std::string& name) const {
  const auto found = std::ranges::find(arrays_, name, &array_info::name);
  return found == arrays_.end() ? nullptr : &*found;
}

void safetensors_reader::read(const array_info& array, std::span<std::byte> out) {
  idiolect::require(out.size() == array.end - array.begin, "out", "is not the array's size");
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(data_ + array.begin));
  if (!file_.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()))) {
    tool::fail(path_, "array \"" + tool::printable(array.name) + "\" cannot be read to its end");
  }
}

safetensors_writer::safetensors_writer(const std::filesystem::path& path,
                                       std::vector<array_info> arrays,
                                       const file_metadata& metadata)
    : file_(path), arrays_(std::move(arrays)) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (array_info& a : arrays_) {
    idiolect::require(!header.contains(a.name), "arrays", "\"" + a.name + "\" is there twice");
    a.begin = at;
    a.end = at += size_of(a, path.string());
    header[a.name] = {
        {"dtype", name_of(a.type)}, {"shape", a.shape}, {"data_offsets", {a.begin, a.end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8,
              ' ');  // the arrays are aligned, as by the format's authors
  const std::uint64_t length = text.size();
  file_.write({reinterpret_cast<const char*>(&length), sizeof length});
  file_.write(text);
}

void safetensors_writer::append(std::span<const std::byte> bytes) {
  idiolect::require(
      next_ < arrays_.size() && bytes.size() == arrays_[next_].end - arrays_[next_].begin, "bytes",
      "is not the next array's size");
  file_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  ++next_;
}

void safetensors_writer::prepare() {
  idiolect::require(next_ == arrays_.size(), "arrays", "some have not been written");
  file_.prepare();
}

}  // namespace torch_trainer
