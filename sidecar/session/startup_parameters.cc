#include "sidecar/session/startup_parameters.h"

#include <algorithm>
#include <set>

#include "fmt/format.h"

namespace postern::session {
namespace {

constexpr std::string_view kAllowedSettings[] = {
    "DateStyle", "TimeZone", "IntervalStyle", "extra_float_digits", "statement_timeout", "geqo",
};

// Not of the server's: how the client wants to authenticate to us.
constexpr std::string_view kAuthSetting = "postern.auth";

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

wire::ErrorFields Refuse(std::string sqlstate, std::string message, std::string detail, std::string hint) {
  return {.severity = "FATAL",
          .sqlstate = std::move(sqlstate),
          .message = std::move(message),
          .detail = std::move(detail),
          .hint = std::move(hint)};
}

wire::ErrorFields NotAllowed(std::string_view name) {
  return Refuse("42501", fmt::format("postern: start-up parameter \"{}\" is not allowed", name),
                "Only settings that cannot change what a statement means or who runs it may be chosen at start-up.",
                "Leave it out. Allowed are application_name, client_encoding=UTF8, DateStyle, TimeZone, IntervalStyle, "
                "extra_float_digits, geqo, statement_timeout, search_path and postern.auth.");
}

bool IsUtf8Name(std::string_view value) {
  std::string name;
  for (const char c : Lower(value)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) name.push_back(c);
  }
  // SQL_ASCII asks for no conversion and gets it: the bytes are UTF-8 then, and the server says so.
  return name == "utf8" || name == "unicode" || name == "sqlascii";
}

// One setting, from a key of the packet or from `options`. False: refused.
bool TakeSetting(std::string_view name, std::string_view value, ClientStartup* startup, wire::ErrorFields* refusal) {
  const std::string lower = Lower(name);
  if (lower == "application_name") {
    startup->application_name = std::string(value);
    return true;
  }
  if (lower == "client_encoding") {
    if (IsUtf8Name(value)) return true;
    *refusal = Refuse("0A000", fmt::format("postern: client_encoding \"{}\" is not supported", value),
                      "In other encodings a statement's bytes may read differently for the server and for its judge.",
                      "Use client_encoding=UTF8.");
    return false;
  }
  if (lower == "search_path") {
    startup->search_path = SplitIdentifiers(value);
    if (startup->search_path.has_value()) return true;
    *refusal = Refuse("22023", "postern: search_path is not a list of names", "", "");
    return false;
  }
  if (lower == kAuthSetting) {
    startup->auth = ParseAuthMethod(value);
    if (startup->auth.has_value()) return true;
    *refusal = Refuse("22023", fmt::format("postern: unknown way to authenticate: {}", value), "",
                      "Use postern.auth=password or postern.auth=oauthbearer.");
    return false;
  }
  for (const std::string_view allowed : kAllowedSettings) {
    if (lower == Lower(allowed)) {
      startup->settings.emplace_back(allowed, value);
      return true;
    }
  }
  *refusal = lower == "replication" ? Refuse("0A000", "postern: replication connections are not supported", "",
                                             "Connect without the replication parameter.")
                                    : NotAllowed(name);
  return false;
}

// Words of `options` as pg_split_opts() of the server makes them: white space separates, a backslash takes the next
// character as it is.
std::vector<std::string> SplitOptions(std::string_view options) {
  std::vector<std::string> words;
  size_t i = 0;
  while (i < options.size()) {
    while (i < options.size() && IsSpace(options[i])) ++i;
    if (i == options.size()) break;
    std::string word;
    for (; i < options.size() && !IsSpace(options[i]); ++i) {
      if (options[i] == '\\' && i + 1 < options.size()) ++i;
      word.push_back(options[i]);
    }
    words.push_back(std::move(word));
  }
  return words;
}

// `options`: -c name=value, -cname=value, --name=value. Anything else is refused.
bool TakeOptions(std::string_view options, std::set<std::string>* seen, ClientStartup* startup,
                 wire::ErrorFields* refusal) {
  const std::vector<std::string> words = SplitOptions(options);
  for (size_t i = 0; i < words.size(); ++i) {
    std::string assignment;
    if (words[i] == "-c" && i + 1 < words.size()) {
      assignment = words[++i];
    } else if (words[i].starts_with("--")) {
      assignment = words[i].substr(2);
    } else if (words[i].starts_with("-c") && words[i].size() > 2) {
      assignment = words[i].substr(2);
    }
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      *refusal =
          Refuse("42501", "postern: start-up options are not understood", "Only -c name=value and --name=value are.",
                 "Remove the option, or use PGOPTIONS=\"-c name=value\".");
      return false;
    }
    std::string name = assignment.substr(0, equals);
    std::replace(name.begin(), name.end(), '-', '_');
    if (!seen->insert(Lower(name)).second) {
      *refusal = Refuse("08P01", fmt::format("postern: start-up parameter \"{}\" is given twice", name), "", "");
      return false;
    }
    if (!TakeSetting(name, std::string_view(assignment).substr(equals + 1), startup, refusal)) return false;
  }
  return true;
}

}  // namespace

std::optional<AuthMethod> ParseAuthMethod(std::string_view name) {
  if (name == "password") return AuthMethod::kPassword;
  if (name == "oauthbearer") return AuthMethod::kOauthBearer;
  return std::nullopt;
}

std::optional<ClientStartup> JudgeStartup(const wire::StartupPacket& packet, wire::ErrorFields* refusal) {
  ClientStartup startup;
  startup.minor = std::min(packet.minor, kNewestMinor);
  startup.negotiate = packet.minor > kNewestMinor;
  std::set<std::string> seen;
  std::string_view options;
  for (const auto& [name, value] : packet.parameters) {
    if (!seen.insert(Lower(name)).second) {
      *refusal = Refuse("08P01", fmt::format("postern: start-up parameter \"{}\" is given twice", name), "", "");
      return std::nullopt;
    }
    if (name == "user") {
      startup.user = value;
    } else if (name == "database") {
      startup.database = value;
    } else if (name == "options") {
      options = value;
    } else if (name.starts_with("_pq_.")) {
      startup.negotiate = true;
      startup.unknown_options.push_back(name);
    } else if (!TakeSetting(name, value, &startup, refusal)) {
      return std::nullopt;
    }
  }
  if (!TakeOptions(options, &seen, &startup, refusal)) return std::nullopt;
  if (startup.user.empty()) {
    *refusal = Refuse("28000", "postern: no user name in the start-up packet", "",
                      "Any user name will do; the token says who you are.");
    return std::nullopt;
  }
  return startup;
}

std::optional<std::vector<std::string>> SplitIdentifiers(std::string_view text) {
  std::vector<std::string> names;
  size_t i = 0;
  const auto skip = [&] {
    while (i < text.size() && IsSpace(text[i])) ++i;
  };
  skip();
  if (i == text.size()) return names;
  for (;;) {
    std::string name;
    if (text[i] == '"') {
      for (++i;; ++i) {
        if (i >= text.size()) return std::nullopt;
        if (text[i] == '"') {
          if (i + 1 < text.size() && text[i + 1] == '"') {
            ++i;
          } else {
            break;
          }
        }
        name.push_back(text[i]);
      }
      ++i;
    } else {
      const size_t begin = i;
      while (i < text.size() && text[i] != ',' && !IsSpace(text[i]) && text[i] != '"') ++i;
      if (i == begin) return std::nullopt;
      name = Lower(text.substr(begin, i - begin));
    }
    names.push_back(std::move(name));
    skip();
    if (i == text.size()) return names;
    if (text[i] != ',') return std::nullopt;
    ++i;
    skip();
    if (i == text.size()) return std::nullopt;
  }
}

std::string QuoteIdentifiers(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += ", ";
    out += '"';
    for (const char c : name) {
      if (c == '"') out += '"';
      out += c;
    }
    out += '"';
  }
  return out;
}

}  // namespace postern::session
