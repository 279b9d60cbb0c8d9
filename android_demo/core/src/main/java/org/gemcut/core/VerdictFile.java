package org.gemcut.core;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;

/**
 * What this phone did with a bundle, as a file that {@code gemcut validate BUNDLE --from FILE} reads and judges anew
 * (exporter/devices/verdict.schema.json in Gemcut).
 */
public final class VerdictFile {
    static final String FORMAT = "gemcut-verdict";
    static final int SCHEMA_VERSION = 1;

    private VerdictFile() {}

    /** What ran it, and where. Fields that aren't known stay as they are. */
    public static final class About {
        /** As the manifest names it: executorch, litert. */
        public String runtimeName = "";

        public String runtimeVersion = "";

        /** SHA-256 of the runtime's library in hex, or null. */
        public String librarySha256 = null;

        public String maker = "";
        public String model = "";

        /** Operating system and version, such as Android 14. */
        public String system = "";

        /** Such as arm64-v8a. */
        public String abi = "";

        public String cpu = "";
        public int cores = 0;

        /** Bytes. */
        public long memory = 0;

        /** An emulator: its speed says nothing of a phone's. */
        public boolean emulated = false;

        public String appId = "";
        public String appVersion = "";

        /** Bytes that the app's process had resident before it opened the engine; not in the file. */
        public long memoryBefore = 0;

        /** Bytes resident at most because of the bundle, without memoryBefore; 0 where it isn't known. */
        public long peakMemory = 0;
    }

    /** The verdict of a replay that ran to its end. */
    public static String text(Goldens goldens, Replay replay, Comparison comparison, About about) {
        JsonArray list = new JsonArray();
        for (int i = 0; i < goldens.goldens.size(); i++) {
            list.add(golden(goldens.goldens.get(i).id, replay.recorded.get(i)));
        }
        JsonObject all = head(goldens.manifest, about);
        all.add("goldens", list);
        all.add("tokens_per_second", figure(replay.tokensPerSecond()));
        all.addProperty("peak_memory", about.peakMemory);
        all.add("refused", JsonNull.INSTANCE);
        all.addProperty("passed", comparison.passed());
        all.add("max_logprob_diff", figure(comparison.maxLogprobDiff));
        all.add("mean_kl", figure(comparison.meanKl));
        all.add("failures", strings(comparison.failures));
        return write(all);
    }

    /** The verdict of a program that couldn't be run to its end. */
    public static String refusal(Manifest manifest, BundleException why, About about) {
        JsonObject all = head(manifest, about);
        all.add("goldens", new JsonArray());
        all.add("tokens_per_second", JsonNull.INSTANCE);
        all.addProperty("peak_memory", about.peakMemory);
        all.addProperty("refused", BundleException.words(why));
        all.addProperty("passed", false);
        all.add("max_logprob_diff", JsonNull.INSTANCE);
        all.add("mean_kl", JsonNull.INSTANCE);
        JsonArray failures = new JsonArray();
        failures.add(BundleException.words(why));
        all.add("failures", failures);
        return write(all);
    }

    /** Writes a verdict's text to a file. */
    public static void write(File file, String text) throws BundleException {
        try {
            OutputStream out = new FileOutputStream(file);
            try {
                out.write(text.getBytes(StandardCharsets.UTF_8));
            } finally {
                out.close();
            }
        } catch (IOException error) {
            throw new BundleException(
                    BundleException.Kind.STORAGE,
                    "the verdict can't be written: " + BundleException.words(error), "free some storage", error);
        }
    }

    private static String write(JsonElement all) {
        return new GsonBuilder().serializeNulls().disableHtmlEscaping().setPrettyPrinting().create().toJson(all) + "\n";
    }

    private static JsonObject head(Manifest manifest, About about) {
        JsonObject all = new JsonObject();
        all.addProperty("format", FORMAT);
        all.addProperty("schema_version", SCHEMA_VERSION);
        all.addProperty("manifest_sha256", manifest.sha256);
        JsonObject runtime = new JsonObject();
        runtime.addProperty("name", about.runtimeName);
        runtime.addProperty("version", about.runtimeVersion);
        all.add("runtime", runtime);
        all.add("library", about.librarySha256 == null ? JsonNull.INSTANCE : new JsonPrimitive(about.librarySha256));
        JsonObject device = new JsonObject();
        device.addProperty("maker", about.maker);
        device.addProperty("model", about.model);
        device.addProperty("system", about.system);
        device.addProperty("abi", about.abi);
        device.addProperty("cpu", about.cpu);
        device.addProperty("cores", about.cores);
        device.addProperty("memory", about.memory);
        device.addProperty("emulated", about.emulated);
        all.add("device", device);
        JsonObject app = new JsonObject();
        app.addProperty("id", about.appId);
        app.addProperty("version", about.appVersion);
        all.add("app", app);
        return all;
    }

    private static JsonObject golden(String id, Recorded recorded) {
        JsonObject one = new JsonObject();
        one.addProperty("id", id);
        int width = recorded.logprobs.length == 0 ? 0 : recorded.logprobs[0].length;
        ByteBuffer rows = buffer(recorded.logprobs.length * width);
        for (float[] row : recorded.logprobs) {
            for (float value : row) {
                rows.putFloat(value);
            }
        }
        ByteBuffer targets = buffer(recorded.targetLogprobs.length);
        for (float value : recorded.targetLogprobs) {
            targets.putFloat(value);
        }
        ByteBuffer top1 = buffer(recorded.top1.length);
        for (int value : recorded.top1) {
            top1.putInt(value);
        }
        one.addProperty("logprobs", base64(rows));
        one.addProperty("target_logprobs", base64(targets));
        one.addProperty("top1", base64(top1));
        JsonArray ids = new JsonArray();
        for (int token : recorded.greedyIds) {
            ids.add(token);
        }
        one.add("greedy_ids", ids);
        one.add("greedy_text",
                recorded.greedyText == null ? JsonNull.INSTANCE : new JsonPrimitive(recorded.greedyText));
        return one;
    }

    private static ByteBuffer buffer(int count) {
        return ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static String base64(ByteBuffer data) {
        return Base64.getEncoder().encodeToString(data.array());
    }

    /** JSON has no infinity: a figure that isn't a number is written as null. */
    private static JsonElement figure(double value) {
        return Double.isNaN(value) || Double.isInfinite(value) ? JsonNull.INSTANCE : new JsonPrimitive(value);
    }

    private static JsonArray strings(List<String> words) {
        JsonArray out = new JsonArray();
        for (String one : words) {
            out.add(one);
        }
        return out;
    }
}
