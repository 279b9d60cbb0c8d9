package org.gemcut.demo.engine;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import org.pytorch.executorch.extension.llm.LlmCallback;
import org.pytorch.executorch.extension.llm.LlmModule;

/**
 * The calls of LlmModule that differ between ExecuTorch's releases, by reflection, so that this app's source fits all of
 * them: load and generate return an error code in 1.0 and 1.1 and nothing in 1.3, where they throw; and only 1.3 lets a
 * caller say the temperature and how many BOS tokens to add.
 */
final class LlmCalls {
    private static final Class<?>[] PLAIN = {String.class, int.class, LlmCallback.class, boolean.class};
    private static final Class<?>[] EXACT = {
        String.class, int.class, LlmCallback.class, boolean.class, float.class, int.class, int.class
    };

    private LlmCalls() {}

    /** Returns ExecuTorch's error code, 0 for none. */
    static int load(LlmModule module) throws Exception {
        return call(module, find("load"));
    }

    /** Returns ExecuTorch's error code, 0 for none. The prompt is not echoed, and begins with its own BOS. */
    static int generate(LlmModule module, String prompt, int length, LlmCallback callback) throws Exception {
        Method exact = find("generate", EXACT);
        if (exact != null) {
            return call(module, exact, prompt, length, callback, false, 0.0f, 0, 0);
        }
        return call(module, find("generate", PLAIN), prompt, length, callback, false);
    }

    private static Method find(String name, Class<?>... types) {
        try {
            return LlmModule.class.getMethod(name, types);
        } catch (NoSuchMethodException none) {
            return null;
        }
    }

    private static int call(LlmModule module, Method method, Object... arguments) throws Exception {
        if (method == null) {
            throw new NoSuchMethodException("this version of ExecuTorch has another LlmModule");
        }
        try {
            Object result = method.invoke(module, arguments);
            return result instanceof Integer ? (Integer) result : 0;
        } catch (InvocationTargetException thrown) {
            Throwable cause = thrown.getCause();
            if (cause instanceof Exception) {
                throw (Exception) cause;
            }
            if (cause instanceof Error) {
                throw (Error) cause;
            }
            throw thrown;
        }
    }
}
