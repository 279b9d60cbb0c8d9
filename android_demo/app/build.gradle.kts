plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "org.gemcut.demo"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.gemcut.demo"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "0.1"
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
        // A verdict names the runtime that ran.
        buildConfigField("String", "EXECUTORCH", "\"${libs.versions.executorch.get()}\"")
    }

    buildFeatures {
        buildConfig = true
    }

    // A bundle's bytes stay as they are: a compressed one would be unpacked into memory to be read.
    androidResources {
        noCompress += listOf("pte", "json", "jsonl", "safetensors", "model", "jinja", "sha256", "md")
    }

    // The library ships byte for byte as its package has it, so that its SHA-256 in a verdict tells which one ran.
    packaging {
        jniLibs {
            keepDebugSymbols += "**/libexecutorch*.so"
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }

    buildTypes {
        release {
            isMinifyEnabled = false // LlmModule's methods are found by name
        }
    }
}

dependencies {
    implementation(project(":core"))
    implementation(libs.executorch.android)
    implementation(libs.gson)
}
