package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What a bundle says about itself, as far as an app asks. Of schema version 1 (manifest.schema.json in Gemcut). */
public final class Manifest {
    static final String NAME = "manifest.json";
    static final String SIDE_NAME = "manifest.sha256";
    static final String MARKER = "gemcut-bundle";
    static final int SCHEMA_VERSION = 1;

    /** One file of the bundle. */
    static final class Entry {
        final String sha256;
        final long size;

        Entry(String sha256, long size) {
            this.sha256 = sha256;
            this.size = size;
        }
    }

    /** SHA-256 of manifest.json, in hex: it stands for the whole bundle. */
    public final String sha256;

    /** All of it, for what has no field here. */
    public final JsonObject json;

    final Map<String, Entry> files;

    public final String model;
    public final String target;
    public final String runtimeName;
    public final String runtimeVersion;

    /** The oldest version of the runtime that should run it, or null where that isn't known. */
    public final String runtimeOldest;

    /** The file that the runtime loads. */
    public final String program;

    /** Tokens that the program's cache holds. */
    public final int context;

    /** Tokens of one prefill call at most. */
    public final int prefillChunk;

    public final int vocabSize;

    /** The token that begins a text, or -1 where there is none. */
    public final int bosId;

    /** The chat template writes the BOS itself, so that a runner must not add another. */
    public final boolean templateBos;

    private final int[] stopIds;

    /** What the runtime must have registered; empty where it has no registry. */
    public final List<String> kernels;

    /** SPDX identifier or short name, or null where it isn't known. */
    public final String licenceId;

    public final String licenceName;
    public final boolean proven;

    /** Why it isn't proven; empty where it is. */
    public final List<String> unproven;

    public final String recipe;

    /** Of the quantization noise that machines may differ by; see {@link Comparison}. */
    final double share;

    private Manifest(JsonObject json, String sha256) throws BundleException {
        this.json = json;
        this.sha256 = sha256;
        model = Json.string(part(json, "model"), "name", NAME);
        target = Json.string(json, "target", NAME);
        JsonObject runtime = part(json, "runtime");
        runtimeName = Json.string(runtime, "name", NAME);
        runtimeVersion = Json.string(runtime, "version", NAME);
        runtimeOldest = Json.stringOrNull(runtime, "oldest", NAME);
        program = Json.string(json, "program", NAME);
        context = positive(json, "context");
        prefillChunk = positive(json, "prefill_chunk");
        vocabSize = positive(json, "vocab_size");
        bosId = Json.isNull(json.get("bos_id")) ? -1 : Json.integer(json, "bos_id", NAME);
        templateBos = json.has("template_bos") && Json.bool(json, "template_bos", NAME);
        stopIds = json.has("stop_ids") ? Json.integers(json.get("stop_ids"), NAME + ": stop_ids") : new int[0];
        kernels = strings(json, "kernels");
        JsonObject licence = json.has("licence") ? part(json, "licence") : new JsonObject();
        licenceId = Json.stringOrNull(licence, "id", NAME);
        String name = Json.stringOrNull(licence, "name", NAME);
        licenceName = name == null ? "" : name;
        proven = json.has("proven") && Json.bool(json, "proven", NAME);
        unproven = strings(json, "unproven");
        recipe = Json.string(part(json, "recipe"), "name", NAME);
        share = Comparison.shareOf(part(json, "recipe"));
        files = files(json);
        if (!files.containsKey(program)) {
            throw BundleException.damaged(NAME + " names the program " + program + ", but no such file");
        }
    }

    /** Ids that end a reply. */
    public int[] stopIds() {
        return stopIds.clone();
    }

    /** Names of all files but the manifest and its hash, sorted. */
    public List<String> fileNames() {
        return new java.util.ArrayList<String>(files.keySet());
    }

    /** Bytes of all files that the manifest names. */
    public long bytes() {
        long total = 0;
        for (Entry entry : files.values()) {
            total += entry.size;
        }
        return total;
    }

    private static JsonObject part(JsonObject json, String key) throws BundleException {
        return Json.object(json.get(key), NAME + ": " + key);
    }

    private static int positive(JsonObject json, String key) throws BundleException {
        int found = Json.integer(json, key, NAME);
        if (found < 1) {
            throw BundleException.damaged(NAME + ": " + key + " should be more than 0");
        }
        return found;
    }

    private static List<String> strings(JsonObject json, String key) throws BundleException {
        return json.has(key) ? Json.strings(json.get(key), NAME + ": " + key) : Collections.<String>emptyList();
    }

    private static Map<String, Entry> files(JsonObject json) throws BundleException {
        Map<String, Entry> found = new TreeMap<String, Entry>();
        for (Map.Entry<String, JsonElement> item : part(json, "files").entrySet()) {
            String name = item.getKey();
            if (!safe(name) || name.equals(NAME) || name.equals(SIDE_NAME)) {
                throw BundleException.damaged(NAME + " names a file that no bundle may hold: " + name);
            }
            JsonObject record = Json.object(item.getValue(), NAME + ": files: " + name);
            String hash = Json.string(record, "sha256", NAME + ": files: " + name);
            long size = Json.whole(record.get("size"), NAME + ": files: " + name + ": size");
            if (!hash.matches("[0-9a-f]{64}") || size < 0) {
                throw BundleException.damaged(NAME + ": files: " + name + " has no proper hash and size");
            }
            found.put(name, new Entry(hash, size));
        }
        return found;
    }

    /** A relative path with slashes that stays inside: bundles come from anywhere, and files are copied by name. */
    static boolean safe(String name) {
        if (name.isEmpty() || name.startsWith("/") || name.contains("\\") || name.indexOf('\0') >= 0) {
            return false;
        }
        String[] parts = name.split("/", -1);
        for (String part : parts) {
            if (part.isEmpty() || part.equals(".") || part.equals("..")) {
                return false;
            }
        }
        return !parts[0].contains(":");
    }

    /** The schema version of a manifest of any version of ours, or -1. */
    private static long versionOf(byte[] data) {
        try {
            JsonElement found = Json.parse(Json.text(data, NAME), NAME);
            boolean ours = found.isJsonObject() && found.getAsJsonObject().has("format")
                    && Json.isString(found.getAsJsonObject().get("format"))
                    && MARKER.equals(found.getAsJsonObject().get("format").getAsString());
            return ours ? Json.whole(found.getAsJsonObject().get("schema_version"), NAME) : -1;
        } catch (BundleException error) {
            return -1;
        }
    }

    static boolean isManifest(byte[] data) {
        try {
            JsonElement found = Json.parse(Json.text(data, NAME), NAME);
            return found.isJsonObject() && Json.isString(found.getAsJsonObject().get("format"))
                    && MARKER.equals(found.getAsJsonObject().get("format").getAsString());
        } catch (BundleException error) {
            return false;
        }
    }

    /**
     * Reads a manifest and holds it against its own hash.
     *
     * @param data the bytes of manifest.json
     * @param side the bytes of manifest.sha256, as {@code sha256sum --check} reads it
     * @param title the bundle, for messages
     */
    static Manifest read(byte[] data, byte[] side, String title) throws BundleException {
        String hash = Hash.of(data);
        boolean changed = !java.util.Arrays.equals(side, Hash.ascii(hash + "  " + NAME + "\n"));
        long version = versionOf(data);
        if (version > SCHEMA_VERSION) {
            String doubt = changed ? " (or " + NAME + " was changed: " + SIDE_NAME + " doesn't fit it)" : "";
            throw new BundleException(
                    BundleException.Kind.NEWER,
                    title + ": " + NAME + " has schema version " + version + "; this app reads up to "
                            + SCHEMA_VERSION + doubt,
                    "update this app, or export the bundle with an older Gemcut");
        }
        if (changed) {
            throw BundleException.damaged(
                    title + ": " + NAME + " and " + SIDE_NAME + " don't agree, so one of them was changed");
        }
        if (version != SCHEMA_VERSION) {
            throw BundleException.damaged(title + ": " + NAME + " is not one of schema version " + SCHEMA_VERSION);
        }
        return new Manifest(Json.object(Json.parse(Json.text(data, NAME), NAME), NAME), hash);
    }
}
