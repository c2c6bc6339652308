#include "common/token/json.h"

#include <cmath>

#include "common/base/errors.h"

namespace postern::token {
namespace {
constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: beyond it a double no longer holds each integer.
}  // namespace

absl::StatusOr<JsonPtr> ParseJsonObject(std::string_view text) {
  json_error_t error;
  JsonPtr json(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, &error));
  if (json == nullptr || !json_is_object(json.get())) {
    return Error(absl::StatusCode::kInvalidArgument, "JSON_MALFORMED",
                 "text is not a JSON object with each member at most once");
  }
  return json;
}

std::string DumpJson(const json_t* json) {
  const std::unique_ptr<char, decltype(&free)> text(json_dumps(json, JSON_COMPACT), &free);
  return text == nullptr ? std::string() : std::string(text.get());
}

json_t* NewJsonString(std::string_view text) { return json_stringn(text.data(), text.size()); }

json_t* NewJsonStrings(const std::vector<std::string>& texts) {
  json_t* array = json_array();
  for (const std::string& text : texts) json_array_append_new(array, NewJsonString(text));
  return array;
}

std::optional<std::string> StringMember(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  if (!json_is_string(value)) return std::nullopt;
  return std::string(json_string_value(value), json_string_length(value));
}

std::optional<int64_t> NumericDateMember(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  if (!json_is_number(value)) return std::nullopt;
  const double seconds = std::floor(json_number_value(value));
  if (!(std::fabs(seconds) < kExactIntegers)) return std::nullopt;
  return static_cast<int64_t>(seconds);
}

std::optional<std::vector<std::string>> StringsMember(const json_t* object, const char* name) {
  const json_t* array = json_object_get(object, name);
  if (!json_is_array(array)) return std::nullopt;
  std::vector<std::string> strings;
  for (size_t i = 0; i < json_array_size(array); ++i) {
    const json_t* element = json_array_get(array, i);
    if (!json_is_string(element)) return std::nullopt;
    strings.emplace_back(json_string_value(element), json_string_length(element));
  }
  return strings;
}

std::optional<std::vector<std::string>> StringOrStringsMember(const json_t* object, const char* name) {
  if (std::optional<std::string> single = StringMember(object, name)) return std::vector<std::string>{*single};
  return StringsMember(object, name);
}

}  // namespace postern::token
