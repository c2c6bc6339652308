// Builds the messages that we send ourselves. Each function appends one message to `out`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::wire {

// Fields of an ErrorResponse or NoticeResponse. Empty ones are left out.
struct ErrorFields {
  std::string severity = "ERROR";
  std::string sqlstate = {};
  std::string message = {};
  std::string detail = {};
  std::string hint = {};
  int position = 0;  // 1-based character; 0: none
};

// --- To a client ---
void AppendError(const ErrorFields& fields, std::string* out);
void AppendNotice(const ErrorFields& fields, std::string* out);
void AppendAuthenticationOk(std::string* out);
void AppendAuthenticationCleartext(std::string* out);
// AuthenticationSASL: the mechanisms that may be used, best first.
void AppendAuthenticationSasl(const std::vector<std::string_view>& mechanisms, std::string* out);
void AppendAuthenticationSaslContinue(std::string_view data, std::string* out);
void AppendParameterStatus(std::string_view name, std::string_view value, std::string* out);
void AppendBackendKeyData(uint32_t process_id, std::string_view secret_key, std::string* out);
void AppendReady(char status, std::string* out);
// `unknown`: names of protocol options that we do not know.
void AppendNegotiateProtocolVersion(uint16_t minor, const std::vector<std::string>& unknown, std::string* out);

// The body of an ErrorResponse or NoticeResponse with another position in the statement's text; the body itself if it
// has none, or does not parse.
std::string WithPosition(std::string_view body, const std::function<int(int)>& moved);

// --- To a server ---
void AppendSslRequest(std::string* out);
void AppendStartup(const std::vector<std::pair<std::string, std::string>>& parameters, std::string* out);
void AppendCancelRequest(uint32_t process_id, std::string_view secret_key, std::string* out);
void AppendPassword(std::string_view password, std::string* out);
void AppendSaslInitial(std::string_view mechanism, std::string_view data, std::string* out);
void AppendSaslResponse(std::string_view data, std::string* out);
void AppendQuery(std::string_view text, std::string* out);
void AppendParse(std::string_view statement, std::string_view text, const std::vector<uint32_t>& parameter_types,
                 std::string* out);
void AppendDescribePortal(std::string_view portal, std::string* out);
void AppendExecute(std::string_view portal, int32_t max_rows, std::string* out);
void AppendSync(std::string* out);
void AppendFlush(std::string* out);
void AppendCopyFail(std::string_view reason, std::string* out);
void AppendTerminate(std::string* out);

}  // namespace postern::wire
