package org.gemcut.core;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.math.BigInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads a model's tool calls by the writers that the template writes them with (docs/concepts/prompt.md: Reading calls). */
final class CallReader {
    private static final int DEEPEST = 64;
    private static final Pattern NUMBER =
            Pattern.compile("-?[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]+)?(?![a-zA-Z0-9_.])");
    private static final Pattern NAME = Pattern.compile("[\\p{L}\\p{N}_.\\-]+");

    /** A call that isn't one: where, and what was wanted. */
    static final class Malformed extends Exception {
        private static final long serialVersionUID = 1L;
        final int at;

        Malformed(int at, String wanted) {
            super(wanted);
            this.at = at;
        }
    }

    private final String text;
    private int at;

    CallReader(String text, int at) {
        this.text = text;
        this.at = at;
    }

    int at() {
        return at;
    }

    private Malformed wanted(String what) {
        return new Malformed(at, what);
    }

    private void space() {
        while (at < text.length() && PromptText.isSpace(text.charAt(at))) {
            at++;
        }
    }

    /** The template's own text, whatever white space stands in it and in what the model wrote. */
    private boolean literal(String wanted) {
        int back = at;
        for (int i = 0; i < wanted.length(); i++) {
            char one = wanted.charAt(i);
            if (PromptText.isSpace(one)) {
                continue;
            }
            space();
            if (at >= text.length() || text.charAt(at) != one) {
                at = back;
                return false;
            }
            at++;
        }
        return true;
    }

    private void expect(String wanted) throws Malformed {
        if (!literal(wanted)) {
            throw wanted(Words.quoted(wanted.trim()));
        }
    }

    private static Writer resolved(Writer writer) throws BundleException {
        Writer found = writer;
        for (int i = 0; found instanceof Writer.Ref; i++) {
            if (i > DEEPEST) {
                throw BundleException.damaged(Prompt.NAME + ": a writer refers to itself");
            }
            found = ((Writer.Ref) found).target();
        }
        return found;
    }

    JsonElement value(Writer writer, int depth) throws Malformed, BundleException {
        Writer found = resolved(writer);
        if (depth > DEEPEST) {
            throw wanted("at most " + DEEPEST + " levels");
        } else if (found instanceof Writer.Text) {
            return new JsonPrimitive(string((Writer.Text) found));
        } else if (found instanceof Writer.Number) {
            return number((Writer.Number) found);
        } else if (found instanceof RecordWriter) {
            return record((RecordWriter) found, depth);
        } else if (found instanceof Writer.Items) {
            return items((Writer.Items) found, depth);
        } else if (found instanceof Writer.Members) {
            return members((Writer.Members) found, depth);
        } else if (found instanceof Writer.Any) {
            return any((Writer.Any) found, depth);
        }
        throw wanted("a value that can be read");
    }

    JsonObject record(RecordWriter writer, int depth) throws Malformed, BundleException {
        JsonObject found = new JsonObject();
        boolean joined = false;
        expect(writer.open);
        for (RecordWriter.Field field : writer.fields) {
            int began = at;
            try {
                if (field.joined && joined) {
                    expect(writer.between);
                }
                expect(field.before);
                JsonElement value = field.writer == null ? new JsonPrimitive(true) : value(field.writer, depth + 1);
                expect(field.after);
                found.add(field.key, value);
                joined |= field.joined;
            } catch (Malformed error) {
                if (field.when.equals("required") || field.when.equals("always")) {
                    throw error;
                }
                at = began;
            }
        }
        expect(writer.close);
        return found;
    }

    private String string(Writer.Text writer) throws Malformed {
        if (!writer.open.isEmpty()) {
            space();
            if (!text.startsWith(writer.open, at)) {
                throw wanted(Words.quoted(writer.open));
            }
            at += writer.open.length();
        }
        return rest(writer);
    }

    /** What follows a string's opening quotes. */
    private String rest(Writer.Text writer) throws Malformed {
        if (writer.close.isEmpty()) {
            Matcher name = NAME.matcher(text).region(at, text.length());
            if (!name.lookingAt()) {
                throw wanted("a name");
            }
            at = name.end();
            return name.group();
        }
        int end = writer.json ? unescapedEnd(writer.close) : text.indexOf(writer.close, at);
        if (end < 0) {
            at = text.length();
            throw wanted("text that ends in " + writer.close);
        }
        String raw = text.substring(at, end);
        int begin = at;
        at = end + writer.close.length();
        return writer.json ? unescaped(raw, begin) : raw;
    }

    private int unescapedEnd(String close) {
        for (int i = at; i < text.length(); i++) {
            if (text.startsWith(close, i)) {
                return i;
            } else if (text.charAt(i) == '\\') {
                i++;
            }
        }
        return -1;
    }

    private static String unescaped(String raw, int begin) throws Malformed {
        StringBuilder out = new StringBuilder(raw.length());
        for (int i = 0; i < raw.length(); i++) {
            char one = raw.charAt(i);
            if (one != '\\' && one != '"') {
                out.append(one);
                continue;
            } else if (one == '"') {
                throw new Malformed(begin, "a JSON string");
            }
            i++;
            int named = i < raw.length() ? "\"\\/nrtbf".indexOf(raw.charAt(i)) : -1;
            if (named >= 0) {
                out.append("\"\\/\n\r\t\b\f".charAt(named));
            } else if (i < raw.length() && raw.charAt(i) == 'u' && i + 5 <= raw.length()
                    && raw.substring(i + 1, i + 5).matches("[0-9a-fA-F]{4}")) {
                out.append((char) Integer.parseInt(raw.substring(i + 1, i + 5), 16));
                i += 4;
            } else {
                throw new Malformed(begin, "a JSON string");
            }
        }
        return out.toString();
    }

    private JsonElement number(Writer.Number writer) throws Malformed {
        expect(writer.open);
        space();
        Matcher found = NUMBER.matcher(text).region(at, text.length()).useTransparentBounds(true);
        if (!found.lookingAt()) {
            throw wanted("a number");
        }
        at = found.end();
        expect(writer.close);
        String digits = found.group();
        return digits.matches("-?[0-9]+") ? new JsonPrimitive(new BigInteger(digits))
                : new JsonPrimitive(Double.parseDouble(digits));
    }

    private JsonArray items(Writer.Items writer, int depth) throws Malformed, BundleException {
        expect(writer.open);
        JsonArray found = new JsonArray();
        if (literal(writer.close)) {
            return found;
        }
        while (true) {
            found.add(value(writer.item, depth + 1));
            if (literal(writer.close)) {
                return found;
            }
            expect(writer.between);
        }
    }

    /** Of a map without a closing text: it ends where no key, or nothing between two members, can be read. */
    private JsonObject members(Writer.Members writer, int depth) throws Malformed, BundleException {
        expect(writer.open);
        JsonObject found = new JsonObject();
        boolean endless = writer.close.isEmpty();
        if (!endless && literal(writer.close)) {
            return found;
        }
        while (true) {
            int start = at;
            String key;
            try {
                key = key(writer);
            } catch (Malformed error) {
                if (!endless || found.size() > 0) {
                    throw error;
                }
                at = start;
                return found;
            }
            if (found.has(key)) {
                at = start;
                throw wanted("each argument once (" + Words.quoted(key) + " came before)");
            }
            expect(writer.colon);
            found.add(key, value(writer.valueOf(key), depth + 1));
            if (!endless && literal(writer.close)) {
                return found;
            }
            if (!literal(writer.between)) {
                if (endless) {
                    return found;
                }
                throw wanted(Words.quoted(writer.between.trim()) + " or " + Words.quoted(writer.close.trim()));
            }
        }
    }

    private String key(Writer.Members writer) throws Malformed, BundleException {
        space();
        Writer.Text quotes = quotes(writer.value);
        if (writer.key.open.isEmpty() && quotes != null && text.startsWith(quotes.open, at)) {
            return string(quotes);
        }
        return string(writer.key);
    }

    /** The quotes of a value's strings; null where it has none. */
    private static Writer.Text quotes(Writer writer) throws BundleException {
        Writer found = resolved(writer);
        if (found instanceof Writer.Any) {
            found = ((Writer.Any) found).string == null ? null : resolved(((Writer.Any) found).string);
        }
        return found instanceof Writer.Text && !((Writer.Text) found).open.isEmpty() ? (Writer.Text) found : null;
    }

    private boolean word(String wanted) {
        if (wanted == null || wanted.isEmpty() || !text.startsWith(wanted, at)) {
            return false;
        }
        int end = at + wanted.length();
        if (end < text.length() && (Character.isLetterOrDigit(text.codePointAt(end)) || text.charAt(end) == '_')) {
            return false;
        }
        at = end;
        return true;
    }

    private JsonElement any(Writer.Any writer, int depth) throws Malformed, BundleException {
        space();
        Writer.Text quotes = quotes(writer);
        if (quotes != null && text.startsWith(quotes.open, at)) {
            return new JsonPrimitive(string(quotes));
        } else if (word(writer.yes)) {
            return new JsonPrimitive(true);
        } else if (word(writer.no)) {
            return new JsonPrimitive(false);
        } else if (word(writer.none) || word("null")) {
            return JsonNull.INSTANCE;
        }
        Writer map = writer.map == null ? null : resolved(writer.map);
        if (map instanceof Writer.Members && begins(((Writer.Members) map).open)) {
            return value(map, depth);
        }
        Writer list = writer.list == null ? null : resolved(writer.list);
        if (list instanceof Writer.Items && begins(((Writer.Items) list).open)) {
            return value(list, depth);
        }
        if (writer.number == null) {
            throw wanted("a value");
        }
        return value(writer.number, depth);
    }

    private boolean begins(String open) {
        int back = at;
        boolean found = !open.isEmpty() && literal(open);
        at = back;
        return found;
    }
}
