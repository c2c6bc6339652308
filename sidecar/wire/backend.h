// What a server's messages say. Each function takes a message's body; views point into it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::wire {

struct FieldView {
  std::string_view name;
  uint32_t table = 0;
  int16_t attnum = 0;
  uint32_t type = 0;
  int16_t format = 0;
};

// ErrorResponse and NoticeResponse, by field code. Empty: absent.
struct ErrorView {
  std::string_view severity;  // 'V', not localised; 'S' from servers before 9.6
  std::string_view sqlstate;
  std::string_view message;
  std::string_view detail;
  std::string_view hint;
};

struct KeyDataView {
  uint32_t process_id = 0;
  std::string_view secret_key;
};

// Authentication*: 0 Ok, 3 CleartextPassword, 5 MD5Password, 10 SASL, 11 SASLContinue, 12 SASLFinal…
struct AuthenticationView {
  int32_t code = 0;
  std::string_view data;
};

struct CopyResponseView {
  bool binary = false;
  int columns = 0;
};

// std::nullopt: malformed.
std::optional<std::vector<FieldView>> ParseRowDescription(std::string_view body);
std::optional<ErrorView> ParseError(std::string_view body);
std::optional<KeyDataView> ParseKeyData(std::string_view body);
std::optional<AuthenticationView> ParseAuthentication(std::string_view body);
// Names of the SASL mechanisms in AuthenticationSASL's data.
std::optional<std::vector<std::string_view>> ParseMechanisms(std::string_view data);
std::optional<std::pair<std::string_view, std::string_view>> ParseParameterStatus(std::string_view body);
// 'I', 'T' or 'E'.
std::optional<char> ParseReady(std::string_view body);
std::optional<std::string_view> ParseCommandComplete(std::string_view body);
std::optional<CopyResponseView> ParseCopyResponse(std::string_view body);

// The row count of a command tag ("UPDATE 3", "INSERT 0 1", "SELECT 10"); std::nullopt if it has none.
std::optional<int64_t> RowsOfTag(std::string_view tag);

}  // namespace postern::wire
