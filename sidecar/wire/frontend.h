// What a client's messages say. Each function takes a message's body and demands that it is consumed exactly, as the
// server does: two readers that stop at different bytes are a hole. All views point into the body.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace postern::wire {

struct ParseView {
  std::string_view statement;
  std::string_view query;
  std::vector<uint32_t> parameter_types;
};

struct BindView {
  std::string_view portal;
  std::string_view statement;
  std::vector<int16_t> parameter_formats;
  std::vector<std::optional<std::string_view>> values;
  std::vector<int16_t> result_formats;
};

// Describe and Close: 'S' statement or 'P' portal.
struct TargetView {
  char kind = 'S';
  std::string_view name;
};

struct ExecuteView {
  std::string_view portal;
  int32_t max_rows = 0;
};

// SASLInitialResponse.
struct SaslInitialView {
  std::string_view mechanism;
  // std::nullopt: none was sent, which is not the same as an empty one.
  std::optional<std::string_view> data;
};

struct FunctionCallView {
  uint32_t function = 0;
};

// std::nullopt: the body is malformed (08P01).
std::optional<ParseView> ParseParse(std::string_view body);
std::optional<BindView> ParseBind(std::string_view body);
std::optional<TargetView> ParseTarget(std::string_view body);
std::optional<ExecuteView> ParseExecute(std::string_view body);
// Query: the text without its terminator.
std::optional<std::string_view> ParseQuery(std::string_view body);
// PasswordMessage.
std::optional<std::string_view> ParsePassword(std::string_view body);
std::optional<SaslInitialView> ParseSaslInitial(std::string_view body);
std::optional<FunctionCallView> ParseFunctionCall(std::string_view body);
// Sync, Flush, CopyDone, Terminate have no body. CopyFail carries a text.
inline bool ParseEmpty(std::string_view body) { return body.empty(); }
std::optional<std::string_view> ParseCopyFail(std::string_view body);

}  // namespace postern::wire
